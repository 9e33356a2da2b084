use std::collections::BTreeMap;
use std::io::Write;

use serde::Serialize;

use super::*;

/// Not what `--help` begins with.
#[derive(Clone, Debug, PartialEq, clap::Args, Serialize)]
#[serde(rename_all = "camelCase")]
struct Sample {
    /// Who it is.
    #[arg(long)]
    name: String,
    /// Where it listens.
    #[arg(long, default_value_t = 7070)]
    client_port: u16,
    /// How long it waits.
    #[arg(long, default_value_t = 100)]
    heartbeat_interval_ms: u64,
    /// Certificates.
    #[arg(long)]
    tls_dir: Option<PathBuf>,
}

impl Settings for Sample {
    fn check(&self, faults: &mut Faults) {
        if self.heartbeat_interval_ms == 0 {
            faults.add("heartbeat_interval_ms", "must be at least 1");
        }
        if self.name.is_empty() {
            faults.add("name", "must not be empty");
        }
    }
}

const PROGRAM: Program = Program {
    name: "sample",
    version: "1.2.3",
    about: "A sample",
};

fn file(text: &str) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

fn read(
    flags: &[&str],
    environment: &[(&str, &str)],
    text: &str,
) -> Result<Loaded<Sample>, ConfigError> {
    let file = file(text);
    let mut arguments: Vec<OsString> = vec!["sample".into(), "--config".into(), file.path().into()];
    arguments.extend(flags.iter().map(OsString::from));
    let environment: BTreeMap<&str, &str> = environment.iter().copied().collect();
    load_from(PROGRAM, arguments, &|name| {
        environment.get(name).map(OsString::from)
    })
}

fn sample(flags: &[&str], environment: &[(&str, &str)], text: &str) -> Sample {
    match read(flags, environment, text).unwrap() {
        Loaded::Run(sample) => sample,
        Loaded::Print(text) => panic!("{text}"),
    }
}

fn faults(flags: &[&str], environment: &[(&str, &str)], text: &str) -> Vec<String> {
    read(flags, environment, text).unwrap_err().0
}

#[test]
fn flags_go_before_environment_before_file_before_defaults() {
    let text = "name: file\nclientPort: 1\n";
    assert_eq!(sample(&[], &[], text).client_port, 1);
    assert_eq!(
        sample(&[], &[("QUORATE_CLIENT_PORT", "2")], text).client_port,
        2
    );
    let all = sample(
        &["--client-port", "3"],
        &[("QUORATE_CLIENT_PORT", "2")],
        text,
    );
    assert_eq!(
        (
            all.name.as_str(),
            all.client_port,
            all.heartbeat_interval_ms
        ),
        ("file", 3, 100)
    );
}

#[test]
fn an_empty_variable_and_a_null_count_as_not_given() {
    let sample = sample(&[], &[("QUORATE_TLS_DIR", "")], "name: 007\ntlsDir: null\n");
    assert_eq!((sample.name.as_str(), sample.tls_dir), ("007", None));
}

#[test]
fn all_errors_come_at_once_with_all_their_names() {
    let found = faults(
        &["--client-port=no", "--colour", "red"],
        &[("QUORATE_HEARTBEAT_INTERVAL_MS", "-1")],
        "clientPrt: 1\n",
    );
    let found = found.join("\n");
    for part in [
        "unexpected argument '--colour'",
        "--client-port (QUORATE_CLIENT_PORT, file key clientPort): invalid value 'no'",
        "--heartbeat-interval-ms (QUORATE_HEARTBEAT_INTERVAL_MS, file key heartbeatIntervalMs): invalid value '-1'",
        "(from the environment)",
        "unknown key clientPrt",
        "--name (QUORATE_NAME, file key name): is required",
    ] {
        assert!(found.contains(part), "{part} is not in\n{found}");
    }
}

#[test]
fn what_does_not_fit_together_is_told_too() {
    assert_eq!(
        faults(&["--name="], &[], "heartbeatIntervalMs: 0\n").len(),
        2
    );
    let found = faults(&["--client-port=no", "--name="], &[], "").join("\n");
    assert!(
        found.contains("invalid value 'no'") && found.contains("--name (QUORATE_NAME"),
        "beside a value that is bad by itself: {found}"
    );
}

#[test]
fn a_flag_given_twice_hides_nothing_and_accuses_nobody_else() {
    let found = faults(&["--name=a", "--client-port=1", "--client-port=2"], &[], "");
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].contains("--client-port (") && found[0].contains("more than once"),
        "{found:?}"
    );
}

#[test]
fn a_bad_file_is_named() {
    for text in [
        "name: [a]\n",
        "name: a\nname: b\n",
        "- a\n",
        "name: {a: b}\n",
    ] {
        let found = faults(&["--name", "a"], &[], text).join("\n");
        assert!(found.contains("is no flat YAML map"), "{text}: {found}");
    }
    let missing = load_from::<Sample>(
        PROGRAM,
        vec!["sample".into(), "--config=/nowhere.yaml".into()],
        &|_| None,
    );
    assert!(
        missing
            .unwrap_err()
            .to_string()
            .contains("/nowhere.yaml cannot be read")
    );
}

#[test]
fn the_printed_configuration_can_be_read_back() {
    let Loaded::Print(text) =
        read(&["--print-config", "--client-port", "9"], &[], "name: a\n").unwrap()
    else {
        panic!("not printed");
    };
    let back = sample(&[], &[], &text);
    assert_eq!(
        back,
        Sample {
            name: "a".into(),
            client_port: 9,
            heartbeat_interval_ms: 100,
            tls_dir: None
        }
    );
}

#[test]
fn help_and_version_are_printed() {
    let Loaded::Print(help) = read(&["--help"], &[], "").unwrap() else {
        panic!("not printed")
    };
    assert!(
        help.starts_with("A sample\n")
            && help.contains("QUORATE_CLIENT_PORT")
            && help.contains("[default: 7070]"),
        "{help}"
    );
    let Loaded::Print(version) = read(&["--version"], &[], "").unwrap() else {
        panic!("not printed")
    };
    assert_eq!(version, "sample 1.2.3\n");
}
