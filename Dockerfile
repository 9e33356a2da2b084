# The image of everything that Quorate runs: docker build -t quorate.local/quorate:dev .
#
# `cargo xtask image` decides what is in it, here and where there is no Docker, so both have the same files.
FROM rust:1.95.0-bookworm AS build
# RocksDB's bindings are made by libclang.
RUN apt-get update \
 && apt-get install -y --no-install-recommends libclang-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /quorate
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/target \
    CARGO_TARGET_DIR=/target cargo xtask image --directory /image

FROM scratch
COPY --from=build /image/ /
ENV PATH=/usr/local/bin
USER 65532:65532
