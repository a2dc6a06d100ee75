/** What a request is for. */
export interface Target {
  readonly type: 'function' | 'service';
  readonly name: string;
}

/** Gives what a route leads to. The name may still be a `:param` of the path. */
export function targetOf(route: { readonly function?: string; readonly service?: string }): Target {
  return route.service === undefined
    ? { type: 'function', name: route.function ?? '' }
    : { type: 'service', name: route.service };
}

/** Reads `function:NAME`, `service:NAME` or `NAME`, a function: what a dispatch header may say. */
export function parseTarget(text: string): Target {
  if (text.startsWith('service:')) return { type: 'service', name: text.slice('service:'.length) };
  return { type: 'function', name: text.replace(/^function:/, '') };
}

/** Writes `NAME` for a function and `service:NAME` for a service, as logs and the banner show them. */
export function formatTarget({ type, name }: Target): string {
  return type === 'service' ? `service:${name}` : name;
}

/** Writes `function "NAME"` or `service "NAME"`, as messages for the client say it. */
export function describeTarget({ type, name }: Target): string {
  return `${type} ${JSON.stringify(name)}`;
}
