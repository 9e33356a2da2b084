//! What one client can take of the limits that all share.

use bytes::Bytes;
use http::Request;
use http_body_util::Full;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::cluster::Cluster;

#[tokio::test]
async fn answers_that_nobody_reads_stop_no_write() {
    let flags = ["--max-pending-bytes=8388608"];
    let cluster = Cluster::group(1, &flags).await;
    let member = &cluster.members[0];
    let large = "x".repeat(1 << 20);
    assert_eq!(
        member.client("PUT", "/kv/large", &[], &large).await.status,
        201
    );
    let mut held = Vec::new();
    let (mut taken, mut refused) = (0, 0);
    for _ in 0..3 {
        let stream = TokioIo::new(TcpStream::connect(member.at(7070)).await.unwrap());
        let (mut sender, connection) = http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(0)
            .handshake(stream)
            .await
            .unwrap();
        tokio::spawn(connection);
        for _ in 0..20 {
            let request = Request::get(format!("http://{}/kv/large", member.at(7070)));
            let request = request.body(Full::<Bytes>::default()).unwrap();
            let answer = sender.send_request(request).await.unwrap();
            match answer.status().as_u16() {
                200 => taken += 1,
                429 => refused += 1,
                other => panic!("{other}"),
            }
            held.push(answer);
        }
    }
    assert_eq!((taken, refused), (3, 57), "an eighth for each connection");
    for key in 0..20 {
        let path = format!("/kv/{key}");
        let put = member.client("PUT", &path, &[], &large).await;
        assert_eq!(put.status, 201, "{put:?}");
        let read = member.client("GET", &path, &[], "").await;
        assert_eq!(read.status, 200, "{read:?}");
    }
    drop(held);
}

#[tokio::test]
async fn clients_do_not_take_the_last_descriptor() {
    let mut cluster = Cluster::prepare(1, &[]);
    cluster.members[0].start_with_few_descriptors(700);
    cluster.members[0].until("it can be asked", |_| true).await;
    cluster.bootstrap().await;
    let member = &cluster.members[0];
    member
        .says(&["max-connections is more than this process may have"])
        .await;
    let mut served = Vec::new();
    let mut refused = 0;
    for _ in 0..300 {
        let mut stream = TcpStream::connect(member.at(7070)).await.unwrap();
        let ask = b"GET /kv/a HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut answer = [0; 4096];
        let read = match stream.write_all(ask).await {
            Ok(()) => stream.read(&mut answer).await.unwrap_or_default(),
            Err(_) => 0,
        };
        let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
        if answer.starts_with("HTTP/1.1 404") {
            served.push(stream);
        } else {
            assert!(
                answer.is_empty() || answer.contains("too-many-connections"),
                "{answer}"
            );
            refused += 1;
        }
    }
    assert!(served.len() > 20 && refused > 20, "{} served", served.len());
    assert!(member.status().await.is_some_and(|status| status.ready));
    let put = b"PUT /kv/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1\r\n\r\nv";
    let mut answer = [0; 12];
    served[0].write_all(put).await.unwrap();
    served[0].read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"HTTP/1.1 201");
}
