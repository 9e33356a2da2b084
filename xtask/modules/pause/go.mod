// The program that holds a pod's namespaces in `cargo xtask cluster`.
module quorate.dev/xtask/pause

go 1.26.0
