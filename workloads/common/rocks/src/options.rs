//! How the store uses memory and files.

use rocksdb::{
    BlockBasedIndexType, BlockBasedOptions, Cache, DBCompressionType, LruCacheOptions, Options,
};

/// The cache's shards, as a power of two. Each has its part of the bytes: with RocksDB's own 64 a shard is smaller than
/// the index of a table, which is then read from disk for every key.
const CACHE_SHARD_BITS: i32 = 2;
/// A table is compacted when so many of so many neighbours are deletions, or this part of all: what was deleted makes
/// reads slow until it is gone.
const DELETIONS: usize = 256;
const NEIGHBOURS: usize = 1024;
const DELETED_PART: f64 = 0.5;

/// Limits of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocksOptions {
    /// Bytes of the cache of blocks, index and filter blocks included.
    pub block_cache_bytes: usize,
    /// Bytes of a memtable; there are at most three, then writes wait for the disk.
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
        let mut cache = LruCacheOptions::default();
        cache.set_capacity(self.block_cache_bytes);
        cache.set_num_shard_bits(CACHE_SHARD_BITS);
        table.set_block_cache(&Cache::new_lru_cache_opts(&cache));
        // Index and filters count against the cache: memory stays bounded however large the state is.
        table.set_cache_index_and_filter_blocks(true);
        table.set_pin_l0_filter_and_index_blocks_in_cache(true);
        // In parts: a look-up needs a few KiB of them, not all of a table's.
        table.set_index_type(BlockBasedIndexType::TwoLevelIndexSearch);
        table.set_partition_filters(true);
        table.set_bloom_filter(10.0, false);
        table.set_format_version(5);

        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_paranoid_checks(true);
        options.set_block_based_table_factory(&table);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(self.write_buffer_bytes);
        options.set_max_write_buffer_number(3);
        options.add_compact_on_deletion_collector_factory(NEIGHBOURS, DELETIONS, DELETED_PART);
        options.set_max_open_files(self.max_open_files);
        options.set_max_background_jobs(2);
        options.set_bytes_per_sync(1 << 20);
        // RocksDB's own info log is for its developers: a little of it is enough.
        options.set_max_log_file_size(1 << 20);
        options.set_keep_log_file_num(2);
        options
    }
}
