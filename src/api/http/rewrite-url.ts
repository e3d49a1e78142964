/**
 * Splits what Docker's clients put into a path from what can be routed: the version prefix goes, and the name in
 * the middle of `/images/NAME/json` (which may contain slashes) becomes one path segment.
 */
export function rewriteUrl(url: string): { url: string; version?: string } {
  const at = url.search(/[?#]/);
  const path = at < 0 ? url : url.slice(0, at);
  const rest = at < 0 ? '' : url.slice(at);
  const prefix = /^\/v(\d[^/]*)(?=\/)/.exec(path);
  const bare = prefix ? path.slice(prefix[0].length) : path;
  return { url: joinName(bare) + rest, version: prefix?.[1] };
}

const named =
  /^(\/(?:images|distribution|plugins|volumes|networks|containers)\/)(.+?)(\/(?:json|history|push|tag|get|enable|disable|upgrade|set))?$/;

function joinName(path: string): string {
  // Only images, plugins and registry entries have names with slashes; a container's may come with the leading one.
  if (!/^\/(?:images|distribution|plugins)\/[^/]+\//.test(path)) return path;
  const match = named.exec(path);
  if (!match) return path;
  return `${match[1]}${match[2]!.replaceAll('/', '%2F')}${match[3] ?? ''}`;
}
