import { DEFAULT_SECONDS, type Deployed, put } from './deployed.ts';
import { DEPLOYMENT_LIMITS as LIMITS } from './limits.ts';
import {
  DISK,
  IMAGE,
  isGiven,
  LOG,
  NETWORK,
  readAsync,
  readHealthCheck,
  readHook,
  readTriggers,
  remarkOnRatio,
  sizeRules,
} from './parts.ts';
import type { Reader } from './reader.ts';
import { child, type Tree } from './tree.ts';

/**
 * What the component `fc` of FC 2.0 is told of a service and its function.
 *
 * @see devsapp/fc, docs/zh/yaml; FC contract §10
 */
export function readFc2(read: Reader, props: Tree): Deployed {
  const deployed: Deployed = {
    flavour: '2.0',
    role: false,
    timeout: DEFAULT_SECONDS,
    environment: {},
    triggers: [],
  };
  read.walk(props, {
    region: tree => put(deployed, 'region', read.text(tree)),
    service: tree => readService(read, deployed, tree),
    function: tree => readFunction(read, deployed, tree),
    triggers: tree => {
      deployed.triggers = readTriggers(read, tree, { name: 'name', type: 'type', config: 'config' });
    },
    customDomains: 'the trigger answers where --listen says',
  });
  remarkOnRatio(read, deployed, child(props, 'function') ?? props);
  return deployed;
}

function readService(read: Reader, deployed: Deployed, tree: Tree): void {
  read.walk(tree, {
    name: value => put(deployed, 'service', read.text(value)),
    role: value => {
      deployed.role = isGiven(value);
    },
    description: null,
    internetAccess: value => {
      if (read.flag(value) === false) read.remark('warning', value, `not played here: ${NETWORK}`);
    },
    logConfig: LOG,
    vpcConfig: NETWORK,
    nasConfig: DISK,
    ossMountConfig: DISK,
    tracingConfig: 'tracing headers are as --switch tracing says',
  });
}

function readFunction(read: Reader, deployed: Deployed, tree: Tree): void {
  let hasInitializer = false;
  let initializationTimeout: number | undefined;
  read.walk(tree, {
    name: value => put(deployed, 'name', read.text(value)),
    ...sizeRules(read, deployed),
    caPort: value => put(deployed, 'port', read.number(value, LIMITS.port)),
    customContainerConfig: value =>
      read.walk(value, {
        image: null,
        command: IMAGE,
        args: IMAGE,
        accelerationType: null,
        instanceID: null,
        webServerMode: item => {
          if (read.flag(item) === false) read.remark('warning', item, 'not played here: containers are servers');
        },
      }),
    customHealthCheckConfig: value => put(deployed, 'healthCheck', readHealthCheck(read, value)),
    initializer: value => {
      hasInitializer = isGiven(value);
    },
    initializationTimeout: value => {
      initializationTimeout = read.number(value, LIMITS.initializer);
    },
    instanceLifecycleConfig: value =>
      read.walk(value, {
        preFreeze: hook => put(deployed, 'preFreeze', readHook(read, hook, LIMITS.hook)),
        preStop: hook => put(deployed, 'preStop', readHook(read, hook, LIMITS.hook)),
      }),
    asyncConfiguration: value => readAsync(read, deployed, value),
    runtime: null,
    description: null,
    handler: null,
    codeUri: null,
    ossBucket: null,
    ossKey: null,
    instanceType: null,
    instanceSoftConcurrency: 'a new instance starts when all are full',
    gpuMemorySize: 'there is no GPU',
    layers: 'a container has none',
    customRuntimeConfig: 'a container has none',
    customDNS: NETWORK,
  });
  if (hasInitializer) deployed.initializer = { timeout: initializationTimeout ?? DEFAULT_SECONDS };
}
