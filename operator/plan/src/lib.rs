//! Pure decisions: `decide(desired, observed, now) -> actions`, `build(valid spec, stage, env) -> objects`.

mod object;
mod stage;

pub use object::Object;
pub use stage::*;
