//! What `up` shows while it runs: a table that is drawn again in its place on a terminal, lines elsewhere.

use std::ffi::OsStr;
use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use quorate_local::{MemberRow, ResourceRow};

use crate::table::align;

/// Where `up` shows what it does.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    begun: Instant,
    coloured: bool,
    drawn: Vec<Line>,
    rows: Vec<MemberRow>,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            begun: Instant::now(),
            coloured: is_coloured(
                std::env::var_os("NO_COLOR").as_deref(),
                std::env::var_os("TERM").as_deref(),
            ),
            drawn: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Prints a line that stays.
    pub fn say(&mut self, line: &str) {
        let table = std::mem::take(&mut self.drawn);
        let text = erase(&table, width()) + line + "\n" + &joined(&table, self.coloured);
        self.write(&text);
        self.drawn = table;
    }

    /// [`Screen::say`], with the time since the start before it.
    pub fn step(&mut self, line: &str) {
        self.say(&timed(self.begun.elapsed(), line));
    }

    /// Shows the resources and the members as they are now.
    pub fn show(&mut self, resources: Vec<ResourceRow>, rows: Vec<MemberRow>) {
        if self.terminal {
            let width = width();
            let table: Vec<Line> = resources
                .iter()
                .map(|row| resource(row, width))
                .chain(table(&rows, width))
                .collect();
            if table != self.drawn {
                self.write(&(erase(&self.drawn, width) + &joined(&table, self.coloured)));
                self.drawn = table;
            }
        } else {
            let lines: String = rows
                .iter()
                .filter_map(|row| news(&self.rows, row))
                .map(|line| timed(self.begun.elapsed(), &line))
                .collect();
            self.write(&lines);
        }
        self.rows = rows;
    }

    fn write(&self, text: &str) {
        let mut out = stdout();
        // Nobody may be reading any more; the members are to be kept running all the same.
        let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    }
}

/// How a line is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    Head,
    Well,
    Waiting,
    Bad,
}

/// A line of the table, no wider than the terminal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    text: String,
    mood: Mood,
}

impl Line {
    /// The line as it is written.
    fn shown(&self, coloured: bool) -> String {
        let code = match self.mood {
            _ if !coloured => return self.text.clone(),
            Mood::Head => "1",
            Mood::Well => "32",
            Mood::Waiting => "33",
            Mood::Bad => "31",
        };
        format!("\x1b[{code}m{}\x1b[0m", self.text)
    }
}

/// By the convention of no-color.org; where nothing is a terminal no line is drawn at all.
fn is_coloured(no_color: Option<&OsStr>, term: Option<&OsStr>) -> bool {
    no_color.is_none_or(OsStr::is_empty) && term.is_some_and(|term| term != "dumb")
}

fn resource(row: &ResourceRow, width: usize) -> Line {
    let name = match row.namespace.as_str() {
        "" | "default" => row.resource.clone(),
        namespace => format!("{namespace}/{}", row.resource),
    };
    let (state, mood) = match row.ready {
        true => ("ready", Mood::Well),
        false => ("not ready", Mood::Waiting),
    };
    let mut text = format!("{name}: {state}");
    for (before, words) in [(", ", &row.reason), (": ", &row.message)] {
        if !words.is_empty() {
            text = text + before + words;
        }
    }
    Line {
        text: cut(&text, width),
        mood,
    }
}

fn mood(row: &MemberRow) -> Mood {
    match (row.state.as_str(), row.ready) {
        ("Running", true) => Mood::Well,
        ("Running" | "Pending" | "Terminating" | "Stopped", _) => Mood::Waiting,
        _ => Mood::Bad,
    }
}

/// Between the member's name and how its process is stands what members of its kind say of themselves. Where the
/// terminal is too narrow whole columns go, first what one misses least.
fn table(rows: &[MemberRow], width: usize) -> Vec<Line> {
    let mut own: Vec<(&str, bool)> = Vec::new();
    for pair in rows.iter().flat_map(|row| &row.summary) {
        if own.iter().all(|(name, _)| *name != pair.name) {
            own.push((&pair.name, pair.moves));
        }
    }
    let mut columns: Vec<(String, u8)> = vec![("MEMBER".to_owned(), 9)];
    // Figures that move tell less than a role.
    columns.extend(
        own.iter()
            .map(|(name, moves)| (name.to_uppercase(), if *moves { 1 } else { 4 })),
    );
    let fixed = [
        ("RESTARTS", 3),
        ("STATE", 7),
        ("READY", 6),
        ("ADDRESS", 8),
        ("VERSION", 2),
    ];
    columns.extend(fixed.map(|(name, weight)| (name.to_owned(), weight)));
    let cells = rows.iter().map(|row| {
        let own = own.iter().map(|(name, _)| {
            let mut pairs = row.summary.iter();
            let pair = pairs.find(|pair| pair.name == *name);
            pair.map(|pair| pair.value.clone()).unwrap_or_default()
        });
        let ready = if row.ready { "yes" } else { "no" };
        let fixed = [
            row.restarts.to_string(),
            row.state.clone(),
            ready.to_owned(),
            row.address.clone(),
            row.version.clone(),
        ];
        std::iter::once(name(row)).chain(own).chain(fixed).collect()
    });
    let head = columns.iter().map(|(name, _)| name.clone()).collect();
    let mut all: Vec<Vec<String>> = std::iter::once(head).chain(cells).collect();
    let mut weights: Vec<u8> = columns.iter().map(|(_, weight)| *weight).collect();
    let moods = std::iter::once(Mood::Head).chain(rows.iter().map(mood));
    let lines = loop {
        let lines = align(&all);
        let widest = lines.iter().map(|line| line.chars().count()).max();
        let least = weights
            .iter()
            .enumerate()
            .rev()
            .min_by_key(|(_, weight)| **weight);
        match least {
            Some((column, _)) if weights.len() > 1 && widest > Some(width) => {
                weights.remove(column);
                all.iter_mut().for_each(|row| drop(row.remove(column)));
            }
            _ => break lines,
        }
    };
    let lines = lines.iter().map(|line| cut(line, width));
    lines
        .zip(moods)
        .map(|(text, mood)| Line { text, mood })
        .collect()
}

/// A line when a member is not as it was; figures that move all the time are no news.
fn news(before: &[MemberRow], row: &MemberRow) -> Option<String> {
    let steady = |row: &MemberRow| {
        let mut row = row.clone();
        row.summary.retain(|pair| !pair.moves);
        row
    };
    let old = before
        .iter()
        .find(|old| (&old.namespace, &old.pod) == (&row.namespace, &row.pod));
    if old.is_some_and(|old| steady(old) == steady(row)) {
        return None;
    }
    let ready = if row.ready { "ready" } else { "not ready" };
    let own = steady(row).summary.into_iter();
    let own: String = own
        .map(|pair| format!(" {} {}", pair.name, pair.value))
        .collect();
    let pid = if row.pid.is_empty() {
        String::new()
    } else {
        format!(" pid {}", row.pid)
    };
    Some(format!(
        "{}: {}{own}, {ready}, restarts {}, at {}{pid}\n",
        name(row),
        row.state,
        row.restarts,
        row.address
    ))
}

fn timed(elapsed: Duration, line: &str) -> String {
    format!("{:>6.1} s  {line}", elapsed.as_secs_f64())
}

fn name(row: &MemberRow) -> String {
    match row.namespace.as_str() {
        "" | "default" => row.pod.clone(),
        namespace => format!("{namespace}/{}", row.pod),
    }
}

/// Moves up over these lines and clears them. A terminal that was made narrower since has wrapped them.
fn erase(lines: &[Line], width: usize) -> String {
    let rows = |line: &Line| line.text.chars().count().div_ceil(width).max(1);
    match lines.iter().map(rows).sum::<usize>() {
        0 => String::new(),
        count => format!("\x1b[{count}A\r\x1b[J"),
    }
}

fn joined(lines: &[Line], coloured: bool) -> String {
    lines
        .iter()
        .map(|line| line.shown(coloured) + "\n")
        .collect()
}

/// A line that wraps would be two, and the table would creep. What is cut ends in a mark.
fn cut(line: &str, width: usize) -> String {
    if line.chars().count() <= width {
        return line.to_owned();
    }
    line.chars()
        .take(width.saturating_sub(1))
        .chain(std::iter::once('\u{2026}'))
        .collect()
}

fn width() -> usize {
    // A terminal that does not know its size says 0.
    let columns =
        rustix::termios::tcgetwinsize(stdout()).map_or(0, |size| usize::from(size.ws_col));
    if columns == 0 { 120 } else { columns }
}

#[cfg(test)]
mod tests {
    use quorate_local::SummaryPair;

    use super::*;

    fn row(role: &str, commit: u64) -> MemberRow {
        MemberRow {
            pod: "a-0".into(),
            state: "Running".into(),
            summary: vec![
                SummaryPair::steady("role", role),
                SummaryPair::moving("commit", commit),
            ],
            ready: true,
            ..MemberRow::default()
        }
    }

    #[test]
    fn a_line_is_printed_when_a_member_changed_and_not_when_it_only_went_on() {
        let before = [row("Follower", 1)];
        assert_eq!(news(&before, &row("Follower", 2)), None);
        let line = news(&before, &row("Leader", 2)).unwrap();
        assert!(
            line.starts_with("a-0: Running role Leader, ready"),
            "{line}"
        );
        assert!(news(&[], &row("Leader", 2)).is_some());
        // Another of the same name.
        let elsewhere = MemberRow {
            namespace: "n".into(),
            ..row("Leader", 2)
        };
        let both = [row("Follower", 2), elsewhere.clone()];
        assert_eq!(news(&both, &elsewhere), None);
        assert!(news(&before, &elsewhere).unwrap().starts_with("n/a-0: "));
    }

    #[test]
    fn the_table_has_a_column_for_each_thing_that_any_member_says_of_itself() {
        let silent = MemberRow {
            pod: "a-1".into(),
            ..MemberRow::default()
        };
        let lines = table(&[row("Leader", 7), silent], 200);
        let heads: Vec<_> = lines[0].text.split_whitespace().collect();
        let expected = [
            "MEMBER", "ROLE", "COMMIT", "RESTARTS", "STATE", "READY", "ADDRESS", "VERSION",
        ];
        assert_eq!(heads, expected);
        assert!(lines[1].text.contains("Leader") && lines[1].text.contains('7'));
        let moods: Vec<_> = lines.iter().map(|line| line.mood).collect();
        assert_eq!(moods, [Mood::Head, Mood::Well, Mood::Bad]);
    }

    #[test]
    fn a_narrow_terminal_loses_what_one_misses_least_and_sees_where_it_is_cut() {
        let mut member = row("Leader", 7);
        member.address = "127.0.0.2:7070".into();
        let heads = |width: usize| {
            let lines = table(std::slice::from_ref(&member), width);
            assert!(
                lines.iter().all(|line| line.text.chars().count() <= width),
                "{width}: {lines:?}"
            );
            let heads = lines[0].text.split_whitespace();
            heads.map(str::to_owned).collect::<Vec<_>>()
        };
        assert_eq!(
            heads(65),
            ["MEMBER", "ROLE", "RESTARTS", "STATE", "READY", "ADDRESS"]
        );
        assert_eq!(heads(40), ["MEMBER", "STATE", "ADDRESS"]);
        assert_eq!(heads(24), ["MEMBER", "ADDRESS"]);
        assert_eq!(heads(5), ["MEMB\u{2026}"]);
        assert_eq!(cut("äbc", 2), "ä\u{2026}");
        let resource = resource(
            &ResourceRow {
                resource: "k/a".into(),
                reason: "NoLeader".into(),
                message: "two of three are away".into(),
                ..ResourceRow::default()
            },
            30,
        );
        assert_eq!(resource.text, "k/a: not ready, NoLeader: two\u{2026}");
    }

    #[test]
    fn lines_that_a_narrower_terminal_wrapped_are_erased_too() {
        let line = |length: usize| Line {
            text: "x".repeat(length),
            mood: Mood::Well,
        };
        assert_eq!(erase(&[], 80), "");
        assert!(erase(&[line(80), line(0)], 80).starts_with("\x1b[2A"));
        assert!(erase(&[line(80), line(0)], 30).starts_with("\x1b[4A"));
    }

    #[test]
    fn colours_are_off_by_no_color_and_on_a_terminal_that_has_none() {
        let coloured = |no_color: Option<&str>, term: Option<&str>| {
            is_coloured(no_color.map(OsStr::new), term.map(OsStr::new))
        };
        assert!(coloured(None, Some("xterm")) && coloured(Some(""), Some("xterm")));
        assert!(!coloured(Some("1"), Some("xterm")));
        assert!(!coloured(None, Some("dumb")) && !coloured(None, None));
        let line = Line {
            text: "a".into(),
            mood: Mood::Bad,
        };
        assert_eq!(line.shown(false), "a");
        assert_eq!(line.shown(true), "\x1b[31ma\x1b[0m");
    }
}
