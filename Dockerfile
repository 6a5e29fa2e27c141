# wherry from source. The build stage stands on a Debian 12 or 13 that may hold the compiler and the libraries already
# (then nothing is installed); the image holds the program, the libraries that it needs, and certificates.
ARG BASE=debian:bookworm

FROM ${BASE} AS build
WORKDIR /src
COPY --chmod=755 toolchain/setup toolchain/
RUN toolchain/setup --build
COPY CMakeLists.txt CMakePresets.json ./
COPY include include
COPY platform platform
COPY agent agent
# The build folder outlives the step: after a change ninja compiles what changed, and no more.
RUN --mount=type=cache,target=/src/build <<EOF
set -e
cmake --preset release -DCMAKE_INSTALL_PREFIX=/usr
cmake --build --preset release
install -D build/release/wherry /out/usr/bin/wherry
EOF
# A program without a distribution: its libraries by their full names, and the loader where the program looks for it.
RUN <<EOF
set -e
ldd /out/usr/bin/wherry | sed -n 's/.*=> \(\/[^ ]*\).*/\1/p; s/^[[:space:]]*\(\/[^ ]*ld-linux[^ ]*\).*/\1/p' | sort -u |
  while read -r library; do install -D "$library" "/libraries$library"; done
install -D -m 644 /etc/ssl/certs/ca-certificates.crt /libraries/etc/ssl/certs/ca-certificates.crt
EOF

FROM scratch
# The libraries first: they are the same, byte for byte, after most changes of the program.
COPY --from=build /libraries /
COPY --from=build /out /
LABEL org.opencontainers.image.title=wherry \
      org.opencontainers.image.licenses=Apache-2.0
ENV PATH=/usr/bin SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ENTRYPOINT ["/usr/bin/wherry"]
CMD ["version"]
