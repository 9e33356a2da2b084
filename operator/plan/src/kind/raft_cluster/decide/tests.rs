//! Situations, each with the one step that follows.
