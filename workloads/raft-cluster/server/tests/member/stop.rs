//! How a member ends.

use rustix::process::Signal;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    let mut cluster = Cluster::group(
        1,
        &["--drain-timeout-ms=300000", "--request-timeout-ms=300000"],
    )
    .await;
    let member = &mut cluster.members[0];
    // A request whose body is still on its way would be waited for.
    let mut slow = TcpStream::connect(member.at(7070)).await.unwrap();
    let head = "PUT /kv/slow HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n";
    slow.write_all(head.as_bytes()).await.unwrap();
    let mut go_on = [0; 12];
    slow.read_exact(&mut go_on).await.unwrap();
    assert_eq!(&go_on, b"HTTP/1.1 100", "the request is under way");
    member.signal(Signal::TERM);
    member
        .says(&["a second signal ends the process at once"])
        .await;
    let ended = member.stop(Signal::INT).await;
    assert_eq!(ended.code(), Some(1));
    member.says(&["ending at once, without draining"]).await;
}
