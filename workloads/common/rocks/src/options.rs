//! How the store uses memory and files.

use rocksdb::{BlockBasedOptions, Cache, DBCompressionType, Options};

/// Limits of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of the cache of blocks, index and filter blocks included.
    pub block_cache_bytes: usize,
    /// Bytes of a memtable; there are at most two, then writes wait for the disk.
    pub write_buffer_bytes: usize,
    /// Table files held open.
    pub max_open_files: i32,
}

impl Default for RocksOptions {
    fn default() -> Self {
        RocksOptions {
            block_cache_bytes: 32 << 20,
            write_buffer_bytes: 16 << 20,
            max_open_files: 512,
        }
    }
}

impl RocksOptions {
    pub(crate) fn to_rocksdb(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(self.block_cache_bytes));
        // Index and filters count against the cache: memory stays bounded however large the state is.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        table.set_bloom_filter(10.0, false);
        table.set_format_version(5);

        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(2);
        options.set_max_open_files(self.max_open_files);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20);
        // RocksDB's own info log is for its developers: a little of it is enough.
        options.set_max_log_file_size(1 << 20);
        options.set_keep_log_file_num(2);
        options
    }
}
