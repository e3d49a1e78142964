/** An image's name or id as part of a path: its slashes stay, nothing else can end the path. */
export function imagePath(name: string): string {
  return `/images/${name.split('/').map(encodeURIComponent).join('/').replaceAll('%3A', ':').replaceAll('%40', '@')}`;
}
