//! The state store on RocksDB.
