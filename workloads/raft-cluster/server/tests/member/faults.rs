//! Disks that are damaged, full or failing, peers of another cluster.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use quorate_wire::{AddLearner, DISK_FULL, MemberState, MemberStatus};
use rustix::process::Signal;

use crate::client::send;
use crate::cluster::{Cluster, DEADLINE, Member, files};

async fn until_damaged(member: &Member) -> MemberStatus {
    let is_damaged = |status: &MemberStatus| status.state == MemberState::Damaged;
    member.until("it is damaged", is_damaged).await
}

/// Stops it when its state is durable in tables, and answers where these are.
async fn stop_with_tables(member: &mut Member) -> Vec<PathBuf> {
    let snapshot = member
        .admin("/admin/snapshot", &serde_json::json!({}))
        .await;
    assert_eq!(snapshot.status, 200, "{snapshot:?}");
    member.stop(Signal::TERM).await;
    let mut tables = files(&member.dir.join("state"));
    tables.retain(|path| path.extension().is_some_and(|extension| extension == "sst"));
    tables
}

#[tokio::test]
async fn an_empty_member_says_what_it_waits_for() {
    let cluster = Cluster::start(1, &[]).await;
    let member = &cluster.members[0];
    let status = member.status().await.unwrap();
    assert_eq!(
        (status.state, status.ready, status.insecure),
        (MemberState::Empty, false, true)
    );
    member.says(&["insecure"]).await;
    let ready = member.health("/readyz").await.unwrap();
    assert!(
        ready.status == 503 && ready.told().1.contains("bootstrapped"),
        "{ready:?}"
    );
    assert_eq!(member.health("/livez").await.unwrap().status, 200);
    let written = member.client("PUT", "/kv/a", &[], "v").await;
    assert!(
        written.status == 503 && !written.header("retry-after").is_empty(),
        "{written:?}"
    );
}

#[tokio::test]
async fn a_damaged_log_is_said_and_not_served() {
    let mut cluster = Cluster::group(1, &[]).await;
    let member = &mut cluster.members[0];
    for at in 0..200 {
        assert_eq!(
            member
                .client("PUT", &format!("/kv/{at}"), &[], &"v".repeat(1000))
                .await
                .status,
            201
        );
    }
    let identity = member.status().await.unwrap().incarnation;
    member.stop(Signal::KILL).await;
    let log = files(&member.dir.join("log"))
        .into_iter()
        .max_by_key(|path| path.metadata().unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes[20_000] ^= 1;
    std::fs::write(&log, bytes).unwrap();

    member.start();
    let status = until_damaged(member).await;
    assert_eq!((status.ready, &status.incarnation), (false, &identity));
    let reason = status.reason.unwrap();
    assert!(
        reason.contains("remove") || reason.contains("replace"),
        "{reason}"
    );
    assert_eq!(member.health("/readyz").await.unwrap().told().0, 503);
    let read = member
        .client("GET", "/kv/1?consistency=stale", &[], "")
        .await;
    assert_eq!(read.status, 503, "{read:?}");

    assert!(status.can_set_aside);
    let ask = serde_json::json!({"incarnation": identity});
    let answer = member.admin("/admin/set-aside", &ask).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    let says = |state| move |status: &MemberStatus| status.state == state;
    member
        .until("it makes way", says(MemberState::Removed))
        .await;
    member.stop(Signal::KILL).await;
    member.start();
    let anew = member.until("it is empty", says(MemberState::Empty)).await;
    assert_ne!(anew.incarnation, identity);
    let kept = member.dir.join(format!("removed-{identity}"));
    assert!(kept.join("log").is_dir() && kept.join("state").is_dir());
}

#[tokio::test]
async fn a_damaged_state_is_said_and_not_served() {
    let mut cluster = Cluster::group(1, &[]).await;
    let member = &mut cluster.members[0];
    member.client("PUT", "/kv/a", &[], "v").await;
    member.stop(Signal::TERM).await;
    let manifest = files(&member.dir.join("state"))
        .into_iter()
        .find(|path| path.to_string_lossy().contains("MANIFEST"))
        .unwrap();
    std::fs::write(&manifest, "nonsense").unwrap();
    member.start();
    let status = until_damaged(member).await;
    assert!(status.reason.unwrap().contains("give it an empty folder"));
}

#[tokio::test]
async fn a_damaged_table_of_the_state_is_said_and_not_served() {
    let mut cluster = Cluster::group(1, &[]).await;
    let member = &mut cluster.members[0];
    member.client("PUT", "/kv/a", &[], "v").await;
    let tables = stop_with_tables(member).await;
    assert!(!tables.is_empty());
    for table in tables {
        let mut bytes = std::fs::read(&table).unwrap();
        // Within the first block.
        bytes[20] ^= 1;
        std::fs::write(&table, bytes).unwrap();
    }
    member.start();
    let status = until_damaged(member).await;
    let reason = status.reason.unwrap();
    assert!(
        reason.contains("remove") || reason.contains("replace"),
        "{reason}"
    );
    let read = member.client("GET", "/kv/a", &[], "").await;
    assert_eq!(read.status, 503, "{read:?}");
}

#[tokio::test]
async fn a_damaged_block_is_said_as_soon_as_it_is_read() {
    let mut cluster = Cluster::group(1, &[]).await;
    let member = &mut cluster.members[0];
    let keys: Vec<String> = (0..32).map(|n| format!("/kv/{n}")).collect();
    for key in &keys {
        // Nothing that compresses: each value has blocks of its own.
        let digits: String = std::iter::repeat_with(fastrand::alphanumeric)
            .take(20_000)
            .collect();
        assert_eq!(member.client("PUT", key, &[], &digits).await.status, 201);
    }
    let table = stop_with_tables(member)
        .await
        .into_iter()
        .max_by_key(|path| std::fs::metadata(path).unwrap().len())
        .unwrap();
    let mut bytes = std::fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).unwrap();

    member.start();
    member
        .until("nothing has read the block yet", |status| status.ready)
        .await;
    let mut unread = 0;
    for key in &keys {
        let status = member.client("GET", key, &[], "").await.status;
        unread += usize::from(status == 500);
    }
    assert_eq!(unread, 1, "only the first that met it");
    let status = until_damaged(member).await;
    assert!(!status.ready && status.reason.unwrap().contains("damaged"));
}

#[tokio::test]
async fn a_damaged_identity_is_said_and_takes_part_in_nothing() {
    let mut cluster = Cluster::group(1, &[]).await;
    let member = &mut cluster.members[0];
    member.stop(Signal::TERM).await;
    let identity = member.dir.join("identity");
    let mut bytes = std::fs::read(&identity).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&identity, bytes).unwrap();
    member.start();
    let status = until_damaged(member).await;
    let reason = status.reason.unwrap();
    assert!(
        reason.contains("identity") && reason.contains("give it an empty folder"),
        "{reason}"
    );
    let read = member.client("GET", "/kv/a", &[], "").await;
    assert_eq!(
        (read.status.as_u16(), read.problem().as_str()),
        (503, "out-of-service")
    );
}

#[tokio::test]
async fn a_lost_identity_is_said_and_no_other_is_drawn_over_the_data() {
    for kept in [&["log", "state"][..], &["state"]] {
        let mut cluster = Cluster::group(1, &[]).await;
        let member = &mut cluster.members[0];
        member.stop(Signal::TERM).await;
        for entry in std::fs::read_dir(&member.dir).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if kept.contains(&name) {
                continue;
            }
            match path.is_dir() {
                true => std::fs::remove_dir_all(&path).unwrap(),
                false => std::fs::remove_file(&path).unwrap(),
            }
        }
        member.start();
        let status = until_damaged(member).await;
        let reason = status.reason.unwrap();
        assert!(
            reason.contains("no identity") && reason.contains("give it an empty folder"),
            "{reason}"
        );
        assert!(!member.dir.join("identity").exists());
    }
}

#[tokio::test]
async fn a_disk_without_room_for_the_log_is_told_at_the_start() {
    let mut cluster = Cluster::prepare(1, &[]);
    let member = &mut cluster.members[0];
    member.start_with_small_files();
    let ended = member.end().await;
    let told = member.logged();
    assert_eq!(ended.code(), Some(78), "{told}");
    assert!(
        told.contains("File too large") && told.contains("check the disk and its free space"),
        "{told}"
    );
}

#[tokio::test]
async fn a_log_that_cannot_be_written_ends_the_process() {
    let mut cluster = Cluster::group(1, &["--max-value-bytes=8388608"]).await;
    let member = &mut cluster.members[0];
    std::fs::remove_dir_all(member.dir.join("log")).unwrap();
    // A segment has 64 MiB; the next one cannot be made.
    let value = "v".repeat(8 << 20);
    let mut answers = vec![];
    for _ in 0..10 {
        let answer = send(member.at(7070), "PUT", "/kv/a", &[], value.clone()).await;
        answers.push(answer.map_or(0, |answer| answer.status.as_u16()));
        if !matches!(answers.last(), Some(200 | 201)) {
            break;
        }
    }
    assert!(
        matches!(answers.last(), Some(0 | 504)),
        "cut off, or not known: {answers:?}"
    );
    let ended = member.end().await;
    let told = member.logged();
    assert_eq!(ended.code(), Some(70), "{told}");
    assert!(
        told.contains("the log cannot be written") && told.contains("check the disk"),
        "{told}"
    );
}

#[tokio::test]
async fn a_full_disk_refuses_writes_and_serves_reads() {
    let mut cluster = Cluster::group(1, &[]).await;
    let member = &mut cluster.members[0];
    member.client("PUT", "/kv/a", &[], "v").await;
    member.stop(Signal::TERM).await;
    member
        .flags
        .retain(|flag| !flag.starts_with("--free-space"));
    member
        .flags
        .push(format!("--free-space-reserve-bytes={}", u64::MAX / 2));
    member.start();
    member.until("it is ready", |status| status.ready).await;
    let begun = Instant::now();
    let refused = loop {
        let answer = member.client("PUT", "/kv/b", &[], "v").await;
        if !answer.status.is_success() {
            break answer;
        }
        assert!(begun.elapsed() < DEADLINE, "writes are still taken");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(
        (refused.status.as_u16(), refused.problem().as_str()),
        (503, "disk-full")
    );
    assert!(
        refused.told().1.contains("free-space-reserve-bytes")
            && !refused.header("retry-after").is_empty(),
        "{refused:?}"
    );
    // Clients know nothing of the hosts file: the leader is named by its address.
    assert_eq!(
        refused.json()["leader"],
        format!("http://{}", member.at(7070))
    );
    let status = member
        .until("it says so", |status| !status.problems.is_empty())
        .await;
    assert_eq!(status.problems[0].code, DISK_FULL);
    assert_eq!(
        member.client("GET", "/kv/a", &[], "").await.told(),
        (200, "v")
    );
    member.says(&["free space is below"]).await;
}

#[tokio::test]
async fn a_member_of_another_cluster_stays_outside() {
    let mut cluster = Cluster::start(1, &[]).await;
    cluster.bootstrap().await;
    let stranger = cluster.add(&[]);
    stranger.flags.retain(|flag| !flag.starts_with("--cluster"));
    stranger.flags.push("--cluster=c-2".into());
    stranger.start();
    let (leader, stranger) = (&cluster.members[0], &cluster.members[1]);
    let id = stranger
        .until("it can be asked", |_| true)
        .await
        .incarnation;
    let address = "m-1.peers.test:7071".to_owned();
    let add = |configuration_index| AddLearner {
        configuration_index,
        id: id.clone(),
        name: "m-1".into(),
        address: address.clone(),
    };
    cluster.change("/admin/members", add).await;
    leader
        .says(&["this member belongs to cluster c-2, not c-1"])
        .await;
    assert_eq!(stranger.status().await.unwrap().state, MemberState::Empty);
}

#[tokio::test]
async fn a_copied_volume_is_told_and_takes_no_part() {
    let mut cluster = Cluster::group(3, &[]).await;
    for at in [0, 1] {
        cluster.members[at].stop(Signal::TERM).await;
    }
    let (original, copy) = (
        cluster.members[0].dir.clone(),
        cluster.members[1].dir.clone(),
    );
    std::fs::remove_dir_all(&copy).unwrap();
    for file in files(&original) {
        let to = copy.join(file.strip_prefix(&original).unwrap());
        std::fs::create_dir_all(to.parent().unwrap()).unwrap();
        std::fs::copy(&file, to).unwrap();
    }
    cluster.members[0].start();
    cluster.members[1].start();
    until_damaged(&cluster.members[1]).await;
    let why = cluster.members[1].health("/readyz").await.unwrap();
    let why = why.told().1;
    assert!(why.contains("of m-0, and this is m-1"), "{why}");
    let leader = cluster.leader().await;
    for key in 0..50 {
        let put = leader.client("PUT", &format!("/kv/{key}"), &[], "v").await;
        assert_eq!(put.status, 201, "{key}: {put:?}");
    }
}
