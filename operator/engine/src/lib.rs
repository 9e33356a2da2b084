//! The reconcile loop over a Host that observes and acts.
