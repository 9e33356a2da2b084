//! The format and recorder of operation histories.
