import { SESSION_CONCURRENCY } from '../fc/settings.ts';
import { readAffinity } from './affinity.ts';
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

const SCALING = 'instances come with calls, up to --max-instances';

/**
 * What the component `fc3` is told of a function.
 *
 * @see devsapp/fc3, docs/zh/yaml; FC contract §10
 */
export function readFc3(read: Reader, props: Tree): Deployed {
  const deployed: Deployed = {
    flavour: '3.0',
    role: false,
    timeout: DEFAULT_SECONDS,
    environment: {},
    triggers: [],
  };
  read.walk(props, {
    region: tree => put(deployed, 'region', read.text(tree)),
    functionName: tree => put(deployed, 'name', read.text(tree)),
    role: tree => {
      deployed.role = isGiven(tree);
    },
    ...sizeRules(read, deployed),
    customContainerConfig: tree =>
      read.walk(tree, {
        image: null,
        port: value => put(deployed, 'port', read.number(value, LIMITS.port)),
        entrypoint: IMAGE,
        command: IMAGE,
        healthCheckConfig: value => put(deployed, 'healthCheck', readHealthCheck(read, value)),
        accelerationType: null,
        accelerationInfo: null,
        acrInstanceId: null,
        registryConfig: null,
        resolvedImageUri: null,
      }),
    instanceLifecycleConfig: tree =>
      read.walk(tree, {
        initializer: value => put(deployed, 'initializer', readHook(read, value, LIMITS.initializer)),
        preStop: value => put(deployed, 'preStop', readHook(read, value, LIMITS.hook)),
        preFreeze: 'FC 3.0 has no such hook',
      }),
    asyncInvokeConfig: tree => readAsync(read, deployed, tree),
    triggers: tree => {
      deployed.triggers = readTriggers(read, tree, {
        name: 'triggerName',
        type: 'triggerType',
        config: 'triggerConfig',
      });
    },
    internetAccess: tree => {
      if (read.flag(tree) === false) read.remark('warning', tree, `not played here: ${NETWORK}`);
    },
    runtime: null,
    description: null,
    handler: null,
    code: null,
    endpoint: null,
    tags: null,
    resourceGroupId: null,
    annotations: null,
    vpcConfig: NETWORK,
    vpcBinding: NETWORK,
    customDNS: NETWORK,
    customDomain: 'the trigger answers where --listen says',
    nasConfig: DISK,
    ossMountConfig: DISK,
    polarFsConfig: DISK,
    logConfig: LOG,
    tracingConfig: 'tracing headers are as --switch tracing says',
    gpuConfig: 'there is no GPU',
    layers: 'a container has none',
    customRuntimeConfig: 'a container has none',
    concurrencyConfig: SCALING,
    provisionConfig: SCALING,
    scalingConfig: SCALING,
    disableOndemand: SCALING,
    idleTimeout: 'instances idle as --idle says',
    sessionAffinity: tree => put(deployed, 'sessionAffinity', readAffinity(read, tree, props)),
    // read with what it belongs to
    sessionAffinityConfig: tree => {
      if (child(props, 'sessionAffinity') === undefined) read.remark('warning', tree, 'sessionAffinity: missing');
    },
    instanceIsolationMode: tree => {
      // exclusive to a session: see there
      if (read.text(tree) === 'REQUEST_EXCLUSIVE')
        read.remark('warning', tree, 'not played here: instances take calls again');
    },
  });
  if (
    deployed.sessionAffinity !== undefined &&
    (deployed.instanceConcurrency ?? SESSION_CONCURRENCY) !== SESSION_CONCURRENCY
  ) {
    const said = child(props, 'instanceConcurrency') ?? props;
    read.remark('warning', said, `FC makes it ${SESSION_CONCURRENCY} with session affinity`);
  }
  remarkOnRatio(read, deployed, props);
  return deployed;
}
