//! Histories that others recorded, with known verdicts (testdata/README.md): the search must agree on every one.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use quorate_check::{Call, Limits, Model, Verdict, check};

/// A register with compare-and-set, as Jepsen's etcd test used it.
struct CasRegister;

enum CasInput {
    Read,
    Write(i64),
    Cas(i64, i64),
}

enum CasOutput {
    Read(Option<i64>),
    Done,
    Failed,
}

impl Model for CasRegister {
    type State = Option<i64>;
    type Input = CasInput;
    type Output = CasOutput;

    fn init(&self) -> Self::State {
        None
    }

    fn step(
        &self,
        state: &Self::State,
        input: &CasInput,
        output: Option<&CasOutput>,
    ) -> Option<Self::State> {
        match (input, output) {
            (CasInput::Read, Some(CasOutput::Read(value))) => (value == state).then_some(*state),
            (CasInput::Read, _) => Some(*state),
            (CasInput::Write(value), _) => Some(Some(*value)),
            (CasInput::Cas(old, _), Some(CasOutput::Failed)) => {
                (*state != Some(*old)).then_some(*state)
            }
            (CasInput::Cas(old, new), _) => (*state == Some(*old)).then_some(Some(*new)),
        }
    }
}

fn parse_jepsen(text: &str) -> Vec<Call<CasInput, CasOutput>> {
    let mut open: BTreeMap<String, usize> = BTreeMap::new();
    let mut calls = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let at = at as u64;
        let Some(line) = line.strip_prefix("INFO  jepsen.util - ") else {
            continue;
        };
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [process, kind, function, value @ ..] = fields.as_slice() else {
            continue;
        };
        let value = value.join(" ");
        let number = |text: &str| text.trim_matches(['[', ']']).parse::<i64>().ok();
        if *kind == ":invoke" {
            let input = match *function {
                ":read" => CasInput::Read,
                ":write" => CasInput::Write(number(&value).unwrap()),
                ":cas" => {
                    let (old, new) = value.split_once(' ').unwrap();
                    CasInput::Cas(number(old).unwrap(), number(new).unwrap())
                }
                other => panic!("line {at}: {other}"),
            };
            open.insert((*process).to_owned(), calls.len());
            calls.push(Call {
                invoked: at,
                returned: at,
                input,
                output: None,
            });
            continue;
        }
        let Some(index) = open.remove(*process) else {
            continue;
        };
        calls[index].returned = at;
        calls[index].output = match (*kind, *function) {
            (":ok", ":read") => Some(CasOutput::Read(number(&value))),
            (":ok", _) => Some(CasOutput::Done),
            (":fail", ":cas") => Some(CasOutput::Failed),
            // A failed read has no result; anything that timed out has an unknown outcome.
            _ => None,
        };
    }
    calls
}

/// One key of a store of strings.
struct AppendRegister;

enum AppendInput {
    Get,
    Put(String),
    Append(String),
}

impl Model for AppendRegister {
    type State = String;
    type Input = AppendInput;
    type Output = String;

    fn init(&self) -> String {
        String::new()
    }

    fn step(&self, state: &String, input: &AppendInput, output: Option<&String>) -> Option<String> {
        match input {
            AppendInput::Get => output
                .is_none_or(|value| value == state)
                .then(|| state.clone()),
            AppendInput::Put(value) => Some(value.clone()),
            AppendInput::Append(value) => Some(format!("{state}{value}")),
        }
    }
}

/// The value of `:name` in an EDN map of the form that these files use.
fn field<'a>(line: &'a str, name: &str) -> &'a str {
    let start = line.find(name).unwrap() + name.len();
    let rest = line[start..].trim_start();
    match rest.strip_prefix('"') {
        Some(quoted) => &quoted[..quoted.find('"').unwrap()],
        None => rest.split([',', '}']).next().unwrap().trim(),
    }
}

fn parse_kv(text: &str) -> BTreeMap<String, Vec<Call<AppendInput, String>>> {
    let mut open: BTreeMap<String, (String, usize)> = BTreeMap::new();
    let mut keys: BTreeMap<String, Vec<Call<AppendInput, String>>> = BTreeMap::new();
    for (at, line) in text.lines().enumerate() {
        let (process, key) = (
            field(line, ":process ").to_owned(),
            field(line, ":key ").to_owned(),
        );
        let value = field(line, ":value ").to_owned();
        let calls = keys.entry(key.clone()).or_default();
        if field(line, ":type ") == ":invoke" {
            let input = match field(line, ":f ") {
                ":get" => AppendInput::Get,
                ":put" => AppendInput::Put(value),
                ":append" => AppendInput::Append(value),
                other => panic!("line {at}: {other}"),
            };
            open.insert(process, (key, calls.len()));
            calls.push(Call {
                invoked: at as u64,
                returned: 0,
                input,
                output: None,
            });
        } else {
            let (key, index) = open.remove(&process).unwrap();
            let call = &mut keys.get_mut(&key).unwrap()[index];
            call.returned = at as u64;
            call.output = Some(value);
        }
    }
    keys
}

fn is_linearizable<M: Model>(model: &M, calls: &[Call<M::Input, M::Output>]) -> bool {
    match check(model, calls, Limits::default()) {
        Verdict::Linearizable(order) => {
            // The witness itself must be a legal sequential history.
            let mut state = model.init();
            for i in order {
                state = model
                    .step(&state, &calls[i].input, calls[i].output.as_ref())
                    .unwrap();
            }
            true
        }
        Verdict::Violation { .. } => false,
        Verdict::GaveUp => panic!("gave up"),
    }
}

#[test]
fn every_known_verdict_is_reproduced() {
    // Relative to the package, where cargo runs tests: clones that share a target folder share this binary.
    let folder = Path::new("testdata");
    let expected = fs::read_to_string(folder.join("expected.tsv")).unwrap();
    let mut judged = 0;
    for line in expected.lines().skip(1).filter(|l| !l.is_empty()) {
        let (file, verdict) = line.split_once('\t').unwrap();
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let found = if file.starts_with("kv/") {
            parse_kv(&text)
                .values()
                .all(|calls| is_linearizable(&AppendRegister, calls))
        } else {
            is_linearizable(&CasRegister, &parse_jepsen(&text))
        };
        assert_eq!(found.to_string(), verdict.trim(), "{file}");
        judged += 1;
    }
    assert!(judged >= 50, "only {judged} histories were found");
}
