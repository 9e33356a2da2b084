//! One trace from a client to the commit, across members.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use quorate_group_core::{Reply, Request, Write};
use quorate_node::trace::{TraceContext, within};
use tracing_subscriber::fmt::MakeWriter;

use crate::cluster::{Cluster, GROUP};

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        std::io::Write::write(&mut *self.0.lock().unwrap(), bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Lines {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

// The subscriber is the process's: one that is only a thread's may find that another test's thread, which has none,
// came first to a span and had it noted as never recorded. What other tests write into it does no harm here.
#[tokio::test]
async fn the_commit_on_the_leader_belongs_to_the_client_s_trace() {
    let lines = Lines::default();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter("quorate_group=debug")
        .with_ansi(false)
        .with_writer(lines.clone())
        .finish();
    tracing::subscriber::set_global_default(subscriber).unwrap();

    let cluster = Cluster::start(3, |_| {}).await;
    cluster.form(GROUP).await;
    let leader = cluster.leader(GROUP).await;
    let follower = (leader + 1) % 3;
    cluster.live(follower).put(GROUP, "warm", "1").await;

    let header = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parent = TraceContext::from_traceparent(header).unwrap();
    let write = Request::Write(Write {
        session: None,
        command: Bytes::from_static(b"k=v"),
    });
    let reply = within(Some(parent), cluster.handle(follower).request(GROUP, write)).await;
    assert!(matches!(reply, Reply::Outcome { .. }), "{reply:?}");

    let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    let committed =
        |line: &&str| line.contains("commit{") && line.contains("0af7651916cd43dd8448eb211c80319c");
    let line = text
        .lines()
        .find(committed)
        .unwrap_or_else(|| panic!("no such span in\n{text}"));
    assert!(
        line.contains(&format!("from={}", cluster.live(follower).id)),
        "{line}"
    );
}
