//! What `up` shows while it runs: a table that is drawn again in its place on a terminal, lines elsewhere.

use std::io::{IsTerminal, Write, stdout};
use std::time::{Duration, Instant};

use quorate_local::MemberRow;

use crate::table::align;

/// Where `up` shows what it does.
#[derive(Debug)]
pub(crate) struct Screen {
    terminal: bool,
    begun: Instant,
    drawn: Vec<String>,
    rows: Vec<MemberRow>,
}

impl Screen {
    pub fn new() -> Self {
        Self {
            terminal: stdout().is_terminal(),
            begun: Instant::now(),
            drawn: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Prints a line that stays.
    pub fn say(&mut self, line: &str) {
        let table = std::mem::take(&mut self.drawn);
        let text = erase(table.len()) + line + "\n" + &joined(&table);
        self.write(&text);
        self.drawn = table;
    }

    /// [`Screen::say`], with the time since the start before it.
    pub fn step(&mut self, line: &str) {
        self.say(&timed(self.begun.elapsed(), line));
    }

    /// Shows the members as they are now.
    pub fn show(&mut self, rows: Vec<MemberRow>) {
        if self.terminal {
            let table: Vec<String> = table(&rows)
                .into_iter()
                .map(|line| cut(&line, width()))
                .collect();
            if table != self.drawn {
                self.write(&(erase(self.drawn.len()) + &joined(&table)));
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

/// Between the member's name and how its process is stands what members of its kind say of themselves.
fn table(rows: &[MemberRow]) -> Vec<String> {
    let mut columns: Vec<&str> = Vec::new();
    for pair in rows.iter().flat_map(|row| &row.summary) {
        if !columns.contains(&pair.name.as_str()) {
            columns.push(&pair.name);
        }
    }
    let fixed = ["RESTARTS", "STATE", "READY", "ADDRESS", "VERSION"];
    let own = columns.iter().map(|column| column.to_uppercase());
    let head = std::iter::once("MEMBER".to_owned())
        .chain(own)
        .chain(fixed.map(str::to_owned));
    let cells = rows.iter().map(|row| {
        let own = columns.iter().map(|column| {
            let mut pairs = row.summary.iter();
            let pair = pairs.find(|pair| pair.name == *column);
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
    let all: Vec<Vec<String>> = std::iter::once(head.collect()).chain(cells).collect();
    align(&all)
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

/// Moves up over so many lines and clears them.
fn erase(lines: usize) -> String {
    if lines == 0 {
        String::new()
    } else {
        format!("\x1b[{lines}A\r\x1b[J")
    }
}

fn joined(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// A line that wraps would be two, and the table would creep.
fn cut(line: &str, width: usize) -> String {
    line.chars().take(width).collect()
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
        let lines = table(&[row("Leader", 7), silent]);
        let heads: Vec<_> = lines[0].split_whitespace().collect();
        let expected = [
            "MEMBER", "ROLE", "COMMIT", "RESTARTS", "STATE", "READY", "ADDRESS", "VERSION",
        ];
        assert_eq!(heads, expected);
        assert!(lines[1].contains("Leader") && lines[1].contains('7'));
        assert_eq!(cut("äbc", 2), "äb");
    }
}
