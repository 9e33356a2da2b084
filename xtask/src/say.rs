//! What commands have to say. A reader that has gone (`cargo xtask ... | head`) stops no work.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::Result;

/// Prints a line.
pub fn say(line: impl Display) -> Result<()> {
    say_to(std::io::stdout(), line)
}

fn say_to(mut out: impl Write, line: impl Display) -> Result<()> {
    match writeln!(out, "{line}") {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fails(ErrorKind);

    impl Write for Fails {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_no_error_and_a_full_disk_is_one() {
        assert!(say_to(Fails(ErrorKind::BrokenPipe), "x").is_ok());
        assert!(say_to(Fails(ErrorKind::StorageFull), "x").is_err());
    }
}
