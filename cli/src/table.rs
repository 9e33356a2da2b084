//! Columns of text.

use jiff::Timestamp;

/// Lines of aligned columns; an empty cell is shown as `-`.
pub(crate) fn align(rows: &[Vec<String>]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        rows.iter()
            .filter_map(|row| row.get(column))
            .map(|cell| cell.chars().count().max(1))
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row
            .iter()
            .zip(&widths)
            .map(|(cell, width)| format!("{:<width$}", if cell.is_empty() { "-" } else { cell }));
        cells.collect::<Vec<_>>().join("   ").trim_end().to_owned()
    };
    rows.iter().map(line).collect()
}

/// How long ago a time was, as kubectl says it.
pub(crate) fn age(time: &str, now: Timestamp) -> String {
    let Ok(then) = time.parse::<Timestamp>() else {
        return String::new();
    };
    let seconds = now.duration_since(then).as_secs().max(0);
    match seconds {
        0..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let row = |cells: &[&str]| {
            cells
                .iter()
                .map(|cell| (*cell).to_owned())
                .collect::<Vec<_>>()
        };
        let lines = align(&[row(&["NAME", "X"]), row(&["a", ""]), row(&["longer", "ü"])]);
        assert_eq!(lines, ["NAME     X", "a        -", "longer   ü"]);
    }

    #[test]
    fn ages_are_kubectls() {
        let now: Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (time, shown) in [
            ("2026-11-23T11:59:01Z", "59s"),
            ("2026-11-23T11:50:00Z", "10m"),
            ("2026-11-23T01:00:00Z", "11h"),
            ("2026-11-01T12:00:00Z", "22d"),
            ("2026-11-23T12:00:05Z", "0s"),
            ("soon", ""),
        ] {
            assert_eq!(age(time, now), shown, "{time}");
        }
    }
}
