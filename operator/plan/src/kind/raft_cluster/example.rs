//! What the suites over all kinds ask of a RaftCluster.

use super::RaftClusters;
use crate::testing::{Example, Size};
use crate::{Kind, Voters};

/// See [`Example`].
pub const EXAMPLE: Example = Example {
    app: RaftClusters::NAMES.app,
    pools: &[Size {
        field: "members",
        members: &[1, 3, 5, 7],
    }],
    voters: Some(Voters::All),
    refused: (4, "members must be 1, 3, 5 or 7"),
};
