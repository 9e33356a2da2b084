//! What the shell of the groups is told once.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use quorate_node::resolve::Resolver;
use quorate_node::tls::Tls;

/// What the shell of the groups is told once; times and limits of the groups themselves are in `core`.
#[derive(Clone, Debug)]
pub struct Options {
    /// The cluster that this member belongs to: the UID of its resource. Peers of another are refused.
    pub cluster: String,
    /// Times and limits of the groups; `core.contact` is how peers find this member.
    pub core: quorate_group_core::Config,
    /// Outgoing connections leave from this address, so that a rule on addresses can cut the member off.
    pub bind_address: IpAddr,
    /// Finds peers by their names.
    pub resolver: Arc<Resolver>,
    /// With certificates peers speak mutual TLS.
    pub tls: Option<Arc<Tls>>,
    /// With less free space than this client writes are refused. Bytes; 0: never.
    pub free_space_reserve_bytes: u64,
    /// Limits of the peer connections.
    pub transport: TransportLimits,
}

impl Options {
    /// The defaults.
    pub fn new(
        cluster: impl Into<String>,
        core: quorate_group_core::Config,
        bind_address: IpAddr,
    ) -> Self {
        Self {
            cluster: cluster.into(),
            core,
            bind_address,
            resolver: Arc::default(),
            tls: None,
            free_space_reserve_bytes: 64 << 20,
            transport: TransportLimits::default(),
        }
    }

    /// A peer that says nothing for so long is taken for gone.
    pub(crate) fn silence(&self) -> Duration {
        self.core.election_timeout
    }
}

/// Limits of the peer connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TransportLimits {
    /// The largest frame that is taken from a peer, in bytes. A larger message is never sent.
    pub max_frame_bytes: usize,
    /// How many bytes are put into one frame, unless a single message is larger.
    pub frame_bytes: usize,
    /// How many messages are put into one frame.
    pub frame_messages: usize,
    /// How many messages may wait for one peer.
    pub queue_messages: usize,
    /// How many bytes may wait for one peer.
    pub queue_bytes: usize,
    /// How many frames of all peers together may wait to be looked at.
    pub incoming_frames: usize,
    /// How many connections peers may have open to this member.
    pub incoming_connections: usize,
}

impl Default for TransportLimits {
    fn default() -> Self {
        Self {
            max_frame_bytes: 20 << 20,
            frame_bytes: 1 << 20,
            frame_messages: 1024,
            queue_messages: 16_384,
            queue_bytes: 64 << 20,
            incoming_frames: 32,
            incoming_connections: 256,
        }
    }
}

impl TransportLimits {
    /// The largest message whose frame a receiver with the same limits takes.
    pub(crate) fn max_message_bytes(&self) -> usize {
        self.max_frame_bytes - self.max_frame_bytes / 16
    }
}
