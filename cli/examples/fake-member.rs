//! A member for the tests of supervision (`tests/host`), and nothing else: it serves the health listener and keeps
//! no data. `cargo test` builds it; nothing ships it.
//!
//! Arguments: `crash` ends it at once with code 3, `unready` answers 503 to `/readyz`. Each start is noted in `starts`
//! in its data folder; a second process on the same folder notes `DOUBLE`.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

use rustix::fs::{FlockOperation, flock};

fn main() -> std::io::Result<()> {
    let modes: Vec<String> = std::env::args().skip(1).collect();
    let has = |mode: &str| modes.iter().any(|given| given == mode);
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let folder = PathBuf::from(variable("QUORATE_DATA_DIR"));

    let mut starts = OpenOptions::new()
        .create(true)
        .append(true)
        .open(folder.join("starts"))?;
    let lock = File::create(folder.join("in-use"))?;
    let alone = flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok();
    writeln!(
        starts,
        "{} {}",
        if alone { "START" } else { "DOUBLE" },
        std::process::id()
    )?;
    println!(
        "{} at {}",
        variable("QUORATE_NAME"),
        variable("QUORATE_BIND_ADDRESS")
    );
    if has("crash") {
        eprintln!("told to crash");
        std::process::exit(3);
    }

    let listener = TcpListener::bind((variable("QUORATE_BIND_ADDRESS"), 7073))?;
    for stream in listener.incoming() {
        // Whoever hangs up early is no reason to end.
        let _ = stream.and_then(|stream| answer(stream, has("unready"), &variable("QUORATE_NAME")));
    }
    Ok(())
}

fn answer(mut stream: TcpStream, unready: bool, name: &str) -> std::io::Result<()> {
    let mut request = [0; 4096];
    let length = stream.read(&mut request)?;
    let request = String::from_utf8_lossy(&request[..length]).into_owned();
    let (status, body) = match request.split(' ').nth(1).unwrap_or_default() {
        "/livez" => ("200 OK", String::new()),
        "/readyz" if unready => ("503 Service Unavailable", String::new()),
        "/readyz" => ("200 OK", String::new()),
        "/status" => (
            "200 OK",
            format!(
                r#"{{"schema":"quorate.dev/member-status/v1","kind":"Fake","name":"{name}","version":"0","featureLevel":1,"cluster":"none","incarnation":"00000000000000aa","state":"Empty","ready":{},"insecure":true}}"#,
                !unready
            ),
        ),
        _ => ("404 Not Found", String::new()),
    };
    write!(
        stream,
        "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    )
}
