//! `quorate-operator`: runs the operator until it is told to stop.

use clap::Parser;
use quorate_manager::{Settings, run};

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let settings = Settings::parse();
    settings.begin_to_log()?;
    run(settings).await
}
