//! A numeric limit of a kind, stated once: the spec, the rules of the CRD, the members' configuration file and the
//! members' settings take its name, its default and its bounds from here.

use std::ops::RangeInclusive;

/// One row of a kind's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The field of the spec: a block and a name, as `limits.maxKeyBytes`.
    pub field: &'static str,
    /// What holds where nothing is said.
    pub default: i64,
    /// The least that is taken; never negative.
    pub least: i64,
    /// The most that is taken; `i64::MAX` where there is no bound.
    pub most: i64,
    /// What is counted.
    pub unit: Unit,
}

/// What a limit counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Bytes.
    Bytes,
    /// Milliseconds.
    Milliseconds,
    /// Things.
    Things,
}

impl Limit {
    /// The block of the spec that has the field, as `limits`.
    pub fn block(&self) -> &'static str {
        self.field.split_once('.').map_or("", |(block, _)| block)
    }

    /// The field in its block, which is also the key of the configuration file, as `maxKeyBytes`.
    pub fn key(&self) -> &'static str {
        self.field
            .split_once('.')
            .map_or(self.field, |(_, key)| key)
    }

    /// The field of a program's settings, as `max_key_bytes`.
    pub fn id(&self) -> String {
        let mut id = String::new();
        for letter in self.key().chars() {
            if letter.is_ascii_uppercase() {
                id.push('_');
            }
            id.push(letter.to_ascii_lowercase());
        }
        id
    }

    /// What is taken, of numbers without a sign.
    pub const fn range(&self) -> RangeInclusive<u64> {
        let most = match self.most {
            i64::MAX => u64::MAX,
            most => most.unsigned_abs(),
        };
        RangeInclusive::new(self.least.unsigned_abs(), most)
    }

    /// What is taken, as the end of a sentence that begins with the field: `must be 1 to 32768 (32 KiB)`.
    pub fn demand(&self) -> String {
        let least = self.unit.amount(self.least);
        match self.most {
            i64::MAX => format!("must be at least {least}"),
            most => format!("must be {least} to {}", self.unit.amount(most)),
        }
    }
}

impl Unit {
    /// A number, and in brackets what people call it.
    pub fn amount(self, number: i64) -> String {
        let names: &[(i64, &str)] = match self {
            Self::Bytes => &[(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")],
            Self::Milliseconds => &[
                (86_400_000, "days"),
                (3_600_000, "hours"),
                (60_000, "minutes"),
                (1000, "seconds"),
            ],
            Self::Things => &[],
        };
        let whole = names
            .iter()
            .find(|(size, _)| number >= *size && number % size == 0);
        match whole.map(|(size, name)| (number / size, *name)) {
            None => number.to_string(),
            Some((1, name)) => format!("{number} (1 {})", name.trim_end_matches('s')),
            Some((count, name)) => format!("{number} ({count} {name})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Limit = Limit {
        field: "limits.maxKeyBytes",
        default: 4096,
        least: 1,
        most: 32 << 10,
        unit: Unit::Bytes,
    };

    #[test]
    fn a_limit_has_a_name_for_each_reader() {
        assert_eq!((LIMIT.block(), LIMIT.key()), ("limits", "maxKeyBytes"));
        assert_eq!(LIMIT.id(), "max_key_bytes");
    }

    #[test]
    fn numbers_are_told_in_the_words_of_people() {
        assert_eq!(LIMIT.demand(), "must be 1 to 32768 (32 KiB)");
        let open = Limit {
            most: i64::MAX,
            ..LIMIT
        };
        assert_eq!(open.demand(), "must be at least 1");
        assert_eq!(open.range(), 1..=u64::MAX);
        for (unit, number, words) in [
            (Unit::Bytes, 1 << 20, "1048576 (1 MiB)"),
            (Unit::Bytes, 1025, "1025"),
            (Unit::Milliseconds, 1000, "1000 (1 second)"),
            (Unit::Milliseconds, 600_000, "600000 (10 minutes)"),
            (Unit::Milliseconds, 1, "1"),
            (Unit::Things, 4096, "4096"),
        ] {
            assert_eq!(unit.amount(number), words);
        }
    }
}
