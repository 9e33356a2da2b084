//! Scenarios, one after another or side by side, and how long each takes.

use std::time::Instant;

use anyhow::{Context, Result, anyhow};

pub type Scenario<'a> = (&'static str, Box<dyn FnOnce() -> Result<()> + Send + 'a>);

pub fn stage<T>(name: &str, run: impl FnOnce() -> Result<T>) -> Result<T> {
    let begun = Instant::now();
    let done = run().with_context(|| name.to_owned());
    let seconds = begun.elapsed().as_secs_f64();
    match &done {
        Ok(_) => println!("== {name}: {seconds:.1} s"),
        Err(error) => println!("== {name} failed after {seconds:.1} s: {error:#}"),
    }
    done
}

/// Side by side, where each waits more than it works. All come to their end, also where one fails.
pub fn together(scenarios: Vec<Scenario<'_>>) -> Result<()> {
    let done: Vec<Result<()>> = std::thread::scope(|scope| {
        let running: Vec<_> = scenarios
            .into_iter()
            .map(|(name, run)| scope.spawn(move || stage(name, run)))
            .collect();
        let ended = running.into_iter().map(|it| it.join());
        ended
            .map(|it| it.unwrap_or_else(|_| Err(anyhow!("a scenario panicked"))))
            .collect()
    });
    done.into_iter().collect()
}
