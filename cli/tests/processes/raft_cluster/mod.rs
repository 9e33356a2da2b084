//! A RaftCluster: at least eight clients write and read throughout, every acknowledged write must be there at the end,
//! and the history must be linearizable.

mod cluster;

mod full;
mod kills;
mod power;
mod scale;
mod supervision;
mod tls;
mod upgrade;
