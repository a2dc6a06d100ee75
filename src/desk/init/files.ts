import { profileSchema } from '../../profile-schema.ts';

/** A file of a new project: where it stands in the folder, and what is in it. */
export type File = readonly [path: string, text: string];

/**
 * The files of a new project.
 *
 * @param name - of the function on FC.
 */
export const projectFiles = (name: string): readonly File[] => [
  ['hello/index.js', FUNCTION],
  ['noslate.json', PROFILE],
  ['noslate.schema.json', `${JSON.stringify(SCHEMA, null, 2)}\n`],
  ['noslate.d.ts', TYPES],
  ['s.yaml', deployment(name)],
  ['Dockerfile', DOCKERFILE],
  ['.dockerignore', DOCKERIGNORE],
  ['README.md', readme(name)],
];

const SCHEMA = { $schema: 'https://json-schema.org/draft/2020-12/schema', title: 'noslate.json', ...profileSchema() };

const FUNCTION = `// @ts-check

/**
 * Answers a request of the HTTP trigger, and an event of InvokeFunction or of another trigger, which comes as a POST.
 *
 * @type {import('../noslate').Handler}
 */
exports.handler = async (_ctx, req, res) => {
  if (req.method !== 'POST') {
    res.writeHead(200, { 'content-type': 'text/plain' });
    res.end(\`Hello from \${req.url}\\n\`);
    return;
  }
  let text = '';
  for await (const chunk of req.setEncoding('utf8')) text += chunk;
  try {
    const event = JSON.parse(text);
    res.writeHead(200, { 'content-type': 'application/json' });
    res.end(\`\${JSON.stringify({ keys: Object.keys(event) })}\\n\`);
  } catch {
    // of an event, a status other than 2xx is a failed call
    res.writeHead(400, { 'content-type': 'application/json' });
    res.end(\`\${JSON.stringify({ error: 'expected JSON' })}\\n\`);
  }
};
`;

const PROFILE = `{
  "$schema": "./noslate.schema.json",
  "functions": [
    {
      "name": "hello",
      "runtime": "nodejs",
      "url": "./hello",
      "handler": "index.handler",
      "signature": "1",
      "worker": { "reservationCount": 1, "maxActivateRequests": 10 }
    }
  ],
  "routes": [{ "event": true, "function": "hello" }, { "path": "/*", "function": "hello" }]
}
`;

const TYPES = `// What Noslate gives a nodejs function. In JavaScript: /** @type {import('../noslate').Handler} */
import type { Readable, Writable } from 'node:stream';

/** Answers one request. What it throws is a failed call. */
export type Handler = (ctx: Context, req: Request, res: Response) => void | Promise<void>;

/** Runs once in each worker, before its first request. */
export type Initializer = (ctx: Context) => void | Promise<void>;

/** A request, read as a stream of Buffers. */
export interface Request extends Readable {
  /** As the client sent it, with its query. */
  readonly url: string;
  readonly method: string;
  /** Names as they were sent; of duplicates the last. */
  readonly headers: Readonly<Record<string, string>>;
  /** Name, value, name, value, …; all of them, in order. */
  readonly rawHeaders: readonly string[];
  /** The trace context. */
  readonly baggage: Readonly<Record<string, string>>;
}

export type HeaderValue = string | readonly string[];

/** The response. Call \`writeHead\` first to stream: a body written before it waits for the end. */
export interface Response extends Writable {
  statusCode: number;
  readonly statusMessage: string | undefined;
  readonly headersSent: boolean;
  writeHead(statusCode: number, headers?: Record<string, HeaderValue> | readonly string[]): void;
  writeHead(statusCode: number, statusMessage: string, headers?: Record<string, HeaderValue> | readonly string[]): void;
  flushHeaders(): void;
  setHeader(name: string, value: HeaderValue): void;
  getHeader(name: string): HeaderValue | undefined;
  getHeaders(): Record<string, HeaderValue>;
  getHeaderNames(): string[];
  hasHeader(name: string): boolean;
  removeHeader(name: string): void;
}

export interface Context {
  /** Where the data plane has a Dapr adaptor. */
  readonly Dapr: Readonly<Record<'1.0', unknown>>;
  /** Hands data to the data plane; whether it was taken. */
  sendBeacon(type: string, options: { format?: string }, data: string | Uint8Array): boolean;
}
`;

const deployment = (
  name: string,
): string => `# Serverless Devs, FC 3.0: \`s deploy\`. IMAGE is what has been pushed, see README.md.
edition: 3.0.0
name: ${name}
access: default

vars:
  region: cn-hangzhou

resources:
  app:
    component: fc3
    props:
      region: \${vars.region}
      functionName: ${name}
      runtime: custom-container
      cpu: 1
      # Noslate's planes take about 250 MB of it, each worker 50 MB and what its function needs
      memorySize: 1024
      diskSize: 512
      timeout: 60
      # one instance for so many requests at a time; the workers share them by maxActivateRequests
      instanceConcurrency: 10
      # a role gives the container credentials; logConfig: auto keeps what it prints
      environmentVariables:
        SERVER_HEALTH_PATH: /healthz
        SERVER_DRAIN_TIMEOUT: "10"
      customContainerConfig:
        image: \${env('IMAGE')}
        port: 9000
        healthCheckConfig:
          httpGetUrl: /healthz
          initialDelaySeconds: 1
          periodSeconds: 3
          timeoutSeconds: 1
          failureThreshold: 3
          successThreshold: 1
      instanceLifecycleConfig:
        # in a container the handler has no meaning, but must be there
        initializer:
          handler: "true"
          timeout: 60
        preStop:
          handler: "true"
          # SERVER_DRAIN_TIMEOUT and some seconds
          timeout: 15
      triggers:
        - triggerName: http
          triggerType: http
          qualifier: LATEST
          triggerConfig:
            authType: anonymous
            disableURLInternet: false
            methods: [GET, POST, PUT, DELETE, HEAD, PATCH, OPTIONS]
`;

const DOCKERFILE = `# Noslate, the gateway and these functions. The image that it extends is built in a clone of noslate-fc:
#
#   docker build --build-arg NOSLATE_VERSION=v0.25.3 -t noslate-fc .
#
# and this one here:
#
#   docker build -t "$IMAGE" .
ARG BASE=noslate-fc
FROM \${BASE} AS functions
WORKDIR /functions
COPY . ./
# they go beside the server, and must not replace it
RUN for name in server.js server.js.cache start.sh node warm; do \\
      if [ -e "$name" ]; then echo "$name: the image has one of its own, give yours another name" >&2; exit 1; fi; \\
    done

FROM \${BASE}
# where that image has its server, and functions of its own
COPY --from=functions /functions ./
# a noslate.json that cannot be used ends the build, not a deployment
RUN "$NOSLATE_BIN/node" server.js --check --config noslate.json
`;

const DOCKERIGNORE = `# what the image is not made of; packages that functions require are below node_modules
.*
Dockerfile
s.yaml
noslate.d.ts
noslate.schema.json
node_modules/.*
node_modules/noslate-fc
**/*.md
`;

const readme = (name: string): string => `# ${name}

\`\`\`sh
npx noslate-fc dev
\`\`\`

plays Function Compute on this machine, as \`s.yaml\` says. In another terminal:

\`\`\`sh
curl http://localhost:8080/you
npx noslate-fc event timer | curl -d @- http://localhost:8080/2023-03-30/functions/${name}/invocations
\`\`\`

| file                  |                                                                        |
| --------------------- | ---------------------------------------------------------------------- |
| \`hello/index.js\`      | the function                                                           |
| \`noslate.json\`        | functions and routes; \`noslate.schema.json\` tells editors its fields   |
| \`noslate.d.ts\`        | types of what a function is given                                      |
| \`s.yaml\`              | how [Serverless Devs](https://docs.serverless-devs.com) deploys it     |
| \`Dockerfile\`          | the image, which extends noslate-fc's own                              |

To deploy, build the image as \`Dockerfile\` says, then

\`\`\`sh
export IMAGE=registry.cn-hangzhou.aliyuncs.com/MY_NAMESPACE/${name}:1
docker build -t "$IMAGE" . && docker push "$IMAGE"
s deploy
\`\`\`
`;
