/** One line of /proc/PID/mountinfo (proc_pid_mountinfo(5)). */
export interface MountEntry {
  id: number;
  parentId: number;
  /** `major:minor` of the file system. */
  device: string;
  /** What of the file system is mounted: `/` or a directory or file in it. */
  root: string;
  target: string;
  /** Per mount: `rw`, `nosuid`, … */
  options: string[];
  /** `shared:N`, `master:N`, `propagate_from:N`, `unbindable`. */
  propagation: string[];
  type: string;
  source: string;
  /** Per file system: `lowerdir=…`, … */
  superOptions: string[];
}

/** Parses mountinfo read as latin1, so that names which are no UTF-8 keep their bytes; lines it cannot read are left out. */
export function parseMountTable(text: string): MountEntry[] {
  const entries: MountEntry[] = [];
  for (const line of text.split('\n')) {
    const entry = parseLine(line);
    if (entry) entries.push(entry);
  }
  return entries;
}

function parseLine(line: string): MountEntry | undefined {
  const fields = line.split(' ');
  // Any number of optional fields, ended by a lone hyphen.
  const end = fields.indexOf('-', 6);
  if (end < 0) return undefined;
  const [id, parentId, device, root, target, options] = fields as [
    string,
    string,
    string,
    string,
    string,
    string,
  ];
  return {
    id: Number(id),
    parentId: Number(parentId),
    device,
    root: unescapeField(root),
    target: unescapeField(target),
    options: options.split(','),
    propagation: fields.slice(6, end),
    type: unescapeField(fields[end + 1] ?? ''),
    source: unescapeField(fields[end + 2] ?? ''),
    superOptions: splitOptions(fields.slice(end + 3).join(' ')),
  };
}

/** The kernel writes space, tab, newline and backslash as three octal digits. */
function unescapeField(field: string): string {
  const bytes = field.replace(/\\([0-7]{3})/g, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 8)),
  );
  const utf8 = Buffer.from(bytes, 'latin1').toString('utf8');
  return utf8.includes('\ufffd') ? bytes : utf8;
}

function splitOptions(text: string): string[] {
  return text.split(/(?<!\\),/).map(unescapeField);
}
