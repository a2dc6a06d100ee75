import { basename } from 'node:path';
import { remarkText } from './deployment/remarks.ts';
import { sessionWords } from './deployment/table.ts';
import type { DeploymentFile } from './deployment.ts';
import { TEMPLATES } from './events/templates.ts';
import { type Endpoint, invokePath } from './fc/endpoint.ts';
import type { FunctionSettings, Hook } from './fc/settings.ts';
import type { About } from './view/console/api.ts';
import type { Ways } from './ways.ts';

declare const VERSION: string;

/** What is played, for the console. Of variables the names alone: their values may be secret. */
export function aboutOf(
  settings: FunctionSettings,
  { url }: Endpoint,
  { functions, curls }: Ways,
  found: DeploymentFile | undefined,
): About {
  const { flavour, name, memory, cpu, timeout, instanceConcurrency, maxInstances } = settings;
  const triggers = found?.deployed?.triggers ?? [];
  return {
    version: VERSION,
    flavour,
    name,
    url,
    invoke: `${url}${invokePath(settings)}`,
    settings: rowsOf(settings),
    memory,
    cpu,
    timeout,
    instanceConcurrency,
    maxInstances,
    functions,
    curls,
    deployment: found && {
      file: basename(found.file),
      remarks: found.remarks.map(item => remarkText(basename(found.file), item)),
    },
    templates: Object.entries(TEMPLATES).map(([template, { meaning, event }]) => ({
      name: template,
      meaning,
      payload: JSON.stringify(event, null, 2),
    })),
    timers: triggers
      .filter(({ type }) => type === 'timer')
      .map(({ name: timer, schedule = '', payload = '' }) => ({ name: timer, schedule, payload })),
  };
}

function rowsOf(settings: FunctionSettings): [string, string][] {
  const { flavour, service, region, memory, cpu, timeout, healthCheck, methods, domain, environment, sessionAffinity } =
    settings;
  const hook = (of: Hook | undefined): string => (of === undefined ? 'none' : `within ${of.timeout} s`);
  return [
    ['FC', flavour],
    ...(flavour === '2.0' ? ([['service', service]] as [string, string][]) : []),
    ['region', region],
    ['memory', `${memory} MB`],
    ['vCPU', String(cpu)],
    ['timeout', `${timeout} s`],
    [
      'requests per instance',
      `${settings.instanceConcurrency}${sessionAffinity === undefined ? '' : ', as FC makes it with session affinity'}`,
    ],
    ['instances', `at most ${settings.maxInstances}`],
    ...(sessionAffinity === undefined ? [] : ([['sessions', sessionWords(sessionAffinity)]] as [string, string][])),
    ['initializer', hook(settings.initializer)],
    ...(flavour === '2.0' ? ([['pre-freeze', hook(settings.preFreeze)]] as [string, string][]) : []),
    ['pre-stop', hook(settings.preStop)],
    ['health check', healthCheck === undefined ? 'none' : healthCheck.httpGetUrl],
    ['HTTP methods', methods.join(', ')],
    ['domain', domain],
    ['variables', Object.keys(environment).join(', ') || 'none'],
  ];
}
