//! What the members run.

use quorate_api::Release;

use super::check::Faults;
use crate::Env;

/// The release that a spec asks for; the operator's own image where it names none.
pub(crate) fn checked(
    image: Option<&str>,
    version: Option<&str>,
    env: &Env,
    faults: &mut Faults,
) -> Release {
    faults.demand(
        image.is_none_or(super::check::is_image),
        "spec.image",
        quorate_api::IMAGE,
    );
    faults.demand(
        version.is_none_or(super::check::is_label_value),
        "spec.version",
        quorate_api::VERSION,
    );
    Release {
        image: image.unwrap_or(&env.default_image).to_owned(),
        version: version.map(str::to_owned),
    }
}
