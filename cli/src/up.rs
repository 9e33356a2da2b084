//! `quorate up`.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use quorate_local::{
    Images, Node, Notice, Options, ResourceType, Run, StateDir, Up, member_rows, resource_rows,
};
use serde_json::Value;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;

use crate::args::{StateArgs, UpArgs};
use crate::live::Screen;
use crate::manifest::{self, Manifest};
use crate::state_path;

const REFRESH: Duration = Duration::from_millis(500);
/// So long may a start have failed before `up` gives up: a port that an ending member still holds is soon free, and a
/// group that was formed before soon elects a leader without it.
const PATIENCE: Duration = Duration::from_secs(5);

pub(crate) async fn up(state: &StateArgs, args: UpArgs) -> anyhow::Result<()> {
    let Manifest { documents, faults } = manifest::read(&args.files);
    ensure!(
        faults.is_empty() || !documents.is_empty(),
        "{}",
        faults.join("; ")
    );
    let images = images(args.images)?;
    let dir = StateDir::create(&state_path(state)?)?;
    // Before anything is started: a signal at any time must end what was started.
    let (mut interrupt, mut terminate) = (
        signal(SignalKind::interrupt())?,
        signal(SignalKind::terminate())?,
    );
    let itself = std::env::current_exe().context("cannot find this program itself")?;
    let path = path_wanted(&itself, std::env::var_os("PATH").unwrap_or_default());
    let launcher = vec![itself, "__launch".into()];
    let (mut up, mut notices) = Up::start(Options {
        dir,
        images,
        launcher,
        documents,
    })?;
    ensure!(
        !up.node().resources().is_empty(),
        "nothing to run: {} holds no resource; name one with -f FILE",
        up.node().dir.root().display()
    );

    let mut screen = Screen::new();
    for words in &faults {
        screen.say(&format!("refused: {words}"));
    }
    let refused = [faults.as_slice(), up.refused()].concat();
    screen.say(&format!(
        "state: {} (log of a member: `quorate logs POD{}`)",
        up.node().dir.root().display(),
        in_folder(state)
    ));
    let mut start = Start {
        seen: BTreeMap::new(),
        ready: BTreeSet::new(),
        folder: in_folder(state),
        path,
        hopeless_since: None,
    };
    let mut refresh = tokio::time::interval(REFRESH);
    refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let hear = |screen: &mut Screen, notice: &Notice| {
        if args.verbose || !notice.detail {
            screen.step(&notice.text);
        }
    };
    let failed = loop {
        tokio::select! {
            Some(notice) = notices.recv() => hear(&mut screen, &notice),
            _ = refresh.tick() => {
                screen.show(resource_rows(up.node()), member_rows(up.node()));
                start.greet(up.node(), &mut screen);
                if let Some(reason) = start.hopeless(&up) {
                    break Some(reason);
                }
            }
            () = either(&mut interrupt, &mut terminate) => break None,
        }
    };
    screen.say("stopping the members (once more: at once)");
    up.order(Run::Drain);
    // Nobody looks at the resources any more: what they were is no news.
    let ended = loop {
        tokio::select! {
            ended = up.ended() => break ended,
            Some(notice) = notices.recv() => hear(&mut screen, &notice),
            _ = refresh.tick() => screen.show(Vec::new(), member_rows(up.node())),
            () = either(&mut interrupt, &mut terminate) => up.order(Run::Kill),
        }
    };
    screen.show(Vec::new(), member_rows(up.node()));
    ended?;
    match failed {
        Some(reason) => bail!("{reason}"),
        None => {
            screen.say("stopped; everything is kept: `quorate up` goes on with it");
            ensure!(
                refused.is_empty(),
                "of the files this was refused: {}",
                refused.join("; ")
            );
            Ok(())
        }
    }
}

fn images(table: Vec<(String, PathBuf)>) -> anyhow::Result<Images> {
    let mut entries = std::collections::BTreeMap::new();
    for (name, path) in table {
        // Members run elsewhere: a relative path would mean another file there.
        let path = path
            .canonicalize()
            .with_context(|| format!("--image {name}={}", path.display()))?;
        entries.insert(name, path);
    }
    let itself = std::env::current_exe().ok();
    let beside = itself.and_then(|path| Some(path.parent()?.to_owned()));
    let images = Images::new(
        entries,
        beside,
        std::env::var_os("PATH").unwrap_or_default(),
    );
    images.check_table()?;
    Ok(images)
}

async fn either(interrupt: &mut Signal, terminate: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

/// How far the start has come.
struct Start {
    /// When each resource was first seen.
    seen: BTreeMap<String, Instant>,
    ready: BTreeSet<String>,
    /// What a command must add to mean this folder.
    folder: String,
    /// What makes `quorate` known to a shell that does not know it.
    path: Option<String>,
    hopeless_since: Option<Instant>,
}

impl Start {
    /// Says once of each resource that it is ready, and what to try.
    fn greet(&mut self, node: &Node, screen: &mut Screen) {
        for (sort, resource) in node.resources() {
            let [namespace, name] = ["namespace", "name"]
                .map(|field| resource["metadata"][field].as_str().unwrap_or_default());
            let label = format!("{}/{name}{}", sort.singular, in_namespace(namespace));
            let seen = *self.seen.entry(label.clone()).or_insert_with(Instant::now);
            if is_ready(&resource) && self.ready.insert(label.clone()) {
                screen.step(&format!(
                    "{label} is ready after {:.1} s",
                    seen.elapsed().as_secs_f64()
                ));
                next_steps(sort, &resource, &self.folder, self.path.as_deref())
                    .iter()
                    .for_each(|line| screen.say(line));
            }
        }
    }

    /// Why the start cannot succeed. Later failures are the members' own: they are retried.
    fn hopeless(&mut self, up: &Up) -> Option<String> {
        let reason = if self.ready.is_empty() {
            up.hopeless()
        } else {
            None
        };
        match (&reason, self.hopeless_since) {
            (None, _) => self.hopeless_since = None,
            (Some(_), None) => self.hopeless_since = Some(Instant::now()),
            (Some(_), Some(since)) if since.elapsed() >= PATIENCE => return reason,
            (Some(_), Some(_)) => {}
        }
        None
    }
}

fn is_ready(resource: &Value) -> bool {
    let conditions = resource["status"]["conditions"].as_array();
    conditions.into_iter().flatten().any(|condition| {
        let current = condition["observedGeneration"].is_null()
            || condition["observedGeneration"] == resource["metadata"]["generation"];
        condition["type"] == "Ready" && condition["status"] == "True" && current
    })
}

/// What a command must add to mean this namespace.
fn in_namespace(namespace: &str) -> String {
    match namespace {
        "default" => String::new(),
        other => format!(" -n {other}"),
    }
}

/// What a command must add to mean this folder: nothing when it is the default one, or the environment names it.
fn in_folder(state: &StateArgs) -> String {
    let given = state.state_dir.as_ref().map(|path| path.as_os_str());
    match given {
        Some(path) if std::env::var_os("QUORATE_STATE_DIR").as_deref() != Some(path) => {
            format!(" --state-dir {}", path.display())
        }
        _ => String::new(),
    }
}

/// The command that makes `quorate` this program in a shell, unless it is that already.
fn path_wanted(itself: &Path, path: OsString) -> Option<String> {
    let found = std::env::split_paths(&path)
        .map(|folder| folder.join("quorate"))
        .find(|file| file.is_file())
        .and_then(|file| file.canonicalize().ok());
    if found.is_some() && found == itself.canonicalize().ok() {
        return None;
    }
    let folder = itself
        .parent()?
        .display()
        .to_string()
        .replace('\'', r"'\''");
    Some(format!("export PATH='{folder}':\"$PATH\""))
}

fn next_steps(
    sort: &ResourceType,
    resource: &Value,
    folder: &str,
    path: Option<&str>,
) -> Vec<String> {
    let [namespace, name] =
        ["namespace", "name"].map(|field| resource["metadata"][field].as_str().unwrap_or_default());
    let flag = in_namespace(namespace) + folder;
    let Some(endpoint) = resource["status"]["endpoints"]["client"][0].as_str() else {
        return Vec::new();
    };
    let mut lines = vec!["try, in another terminal:".to_owned()];
    lines.extend(path.map(|command| format!("  {command}")));
    if let Some(secret) = sort.certificates(resource) {
        lines.push(format!(
            r#"  quorate get secret {secret}{flag} -o json | sed -n 's/.*"ca.crt": "\(.*\)".*/\1/p' | base64 -d > ca.crt"#
        ));
    }
    lines.extend(
        sort.try_next(resource, endpoint)
            .into_iter()
            .map(|command| format!("  {command}")),
    );
    lines.push(format!(
        "  quorate get {} {name}{flag} -o yaml",
        sort.singular
    ));
    lines.push(format!(
        "  quorate scale {}/{name}{flag} --replicas N",
        sort.singular
    ));
    lines
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use serde_json::json;

    #[test]
    fn ready_counts_for_the_generation_that_it_speaks_of() {
        let resource = |generation: i64, status: &str| json!({ "metadata": { "generation": 2 }, "status": { "conditions": [{ "type": "Ready", "status": status, "observedGeneration": generation }] } });
        assert!(is_ready(&resource(2, "True")));
        assert!(!is_ready(&resource(1, "True")));
        assert!(!is_ready(&resource(2, "False")));
        assert!(!is_ready(&json!({})));
    }

    #[test]
    fn a_shell_is_told_how_to_find_the_command_unless_it_does() {
        let temp = tempfile::tempdir().unwrap();
        let folder = |name: &str| {
            let folder = temp.path().join(name);
            std::fs::create_dir_all(&folder).unwrap();
            let file = folder.join("quorate");
            std::fs::write(&file, "").unwrap();
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
            folder
        };
        let (ours, other) = (folder("it's ours"), folder("other"));
        let told = |path: &[&PathBuf]| {
            path_wanted(&ours.join("quorate"), std::env::join_paths(path).unwrap())
        };
        assert_eq!(told(&[&ours, &other]), None);
        for path in [&[&other, &ours][..], &[]] {
            let command = told(path).unwrap() + "; command -v quorate";
            let shell = std::process::Command::new("/bin/sh")
                .args(["-c", &command])
                .env("PATH", std::env::join_paths(path).unwrap())
                .output()
                .unwrap();
            let found = String::from_utf8(shell.stdout).unwrap();
            assert_eq!(found.trim(), ours.join("quorate").to_str().unwrap());
        }
    }

    #[test]
    fn the_next_steps_are_told_for_the_namespace_of_the_resource() {
        let sort = quorate_local::resource_types()
            .iter()
            .find(|sort| sort.custom.is_some());
        let steps = |namespace: &str| {
            let sort = sort.unwrap();
            let resource = json!({
                "apiVersion": sort.api_version, "kind": sort.kind,
                "metadata": { "name": "a", "namespace": namespace },
                "spec": {},
                "status": { "endpoints": { "client": ["http://127.0.0.2:7070"] } },
            });
            next_steps(sort, &resource, " --state-dir /s", Some("export PATH=x")).join("\n")
        };
        assert!(!steps("default").contains(" -n "));
        assert!(steps("default").contains(" a --state-dir /s -o yaml"));
        assert!(steps("default").contains("\n  export PATH=x\n"));
        let elsewhere = steps("elsewhere");
        assert!(
            elsewhere.contains(" a -n elsewhere --state-dir /s -o yaml"),
            "{elsewhere}"
        );
        assert!(
            elsewhere.contains("/a -n elsewhere --state-dir /s --replicas"),
            "{elsewhere}"
        );
        assert!(elsewhere.contains("127.0.0.2"), "{elsewhere}");
    }
}
