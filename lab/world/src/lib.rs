//! Real processes under faults: clients, a file system that forgets, a proxy, kills and cuts.
