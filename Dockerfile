# The image of the controller: one static program, the certificates of public authorities, and nothing else.
#
#   docker buildx build --platform linux/amd64,linux/arm64 --tag REGISTRY/sluice:0.1.0 --push .
#
# Each architecture is built natively, or emulated where the builder has no machine of it. BUILDER may name a mirror or
# a digest; it has to be of the version in rust-toolchain.toml, and of Alpine, whose programs are linked statically.
ARG BUILDER=rust:1.95.0-alpine

FROM ${BUILDER} AS build
# jemalloc and ring are partly C.
RUN apk add --no-cache build-base ca-certificates
WORKDIR /src
COPY . .
# Pages of ARM machines have up to 64 KiB; an allocator that was built for smaller ones does not start there.
RUN if [ "$(uname -m)" = aarch64 ]; then export JEMALLOC_SYS_WITH_LG_PAGE=16; fi \
    && cargo build --locked --release --bin sluice \
    && install -s target/release/sluice /sluice \
    && /sluice --version

FROM scratch
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sluice" \
      org.opencontainers.image.description="A Kubernetes operator for feature rollouts" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /sluice /sluice
# A number, by which a node can see that it is not root.
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["/sluice"]
CMD ["controller"]
