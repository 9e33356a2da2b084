//! The members' admin API, for both hosts.
