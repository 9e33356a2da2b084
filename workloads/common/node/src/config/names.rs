//! One name, three spellings.

/// How a setting is called. A field `client_port` is the flag `--client-port`, the variable `QUORATE_CLIENT_PORT`
/// and the file key `clientPort`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    /// On the command line.
    pub flag: String,
    /// In the environment.
    pub variable: String,
    /// In the file.
    pub key: String,
}

impl Names {
    /// The names of the field `id` (snake_case).
    pub fn of(id: &str) -> Self {
        let mut words = id.split('_');
        let mut key = words.next().unwrap_or_default().to_owned();
        for word in words {
            let mut letters = word.chars();
            key.extend(letters.next().map(|letter| letter.to_ascii_uppercase()));
            key.push_str(letters.as_str());
        }
        Self {
            flag: format!("--{}", id.replace('_', "-")),
            variable: format!("QUORATE_{}", id.to_ascii_uppercase()),
            key,
        }
    }
}

impl std::fmt::Display for Names {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{} ({}, file key {})",
            self.flag, self.variable, self.key
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_has_three_names() {
        let names = Names::of("max_page_entries");
        assert_eq!(
            names.to_string(),
            "--max-page-entries (QUORATE_MAX_PAGE_ENTRIES, file key maxPageEntries)"
        );
        assert_eq!(Names::of("cluster").key, "cluster");
    }
}
