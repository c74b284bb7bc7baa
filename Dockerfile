# jwtproxy and the key registry in one image, with the Envoy that runs the filter.

FROM envoyproxy/envoy:v1.40.0 AS envoy

FROM rust:1-bookworm AS build
WORKDIR /src
COPY . .
RUN rustup target add wasm32-wasip1 \
    && make filter \
    && cargo build --release --locked -p signer-native -p keyregistry-mock

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --create-home jwtproxy
COPY --from=envoy /usr/local/bin/envoy /usr/local/bin/envoy
COPY --from=build /src/target/release/jwtproxy /src/target/release/keyregistry-mock /usr/local/bin/
USER jwtproxy
ENTRYPOINT ["jwtproxy"]
CMD ["-config", "/etc/jwtproxy/config.yaml"]
