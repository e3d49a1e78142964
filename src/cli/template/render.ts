import { templateError } from '../failure.ts';
import { functions, isTrue, show } from './functions.ts';
import type { Expression, Node } from './parse.ts';

/** A template's text for `data`. A field that `data` lacks is an error that names those it has. */
export function renderTemplate(nodes: readonly Node[], data: unknown): string {
  return renderNodes(nodes, { dot: data, variables: new Map([['', data]]) });
}

interface Scope {
  dot: unknown;
  variables: Map<string, unknown>;
}

function renderNodes(nodes: readonly Node[], scope: Scope): string {
  return nodes.map((node) => renderNode(node, scope)).join('');
}

function renderNode(node: Node, scope: Scope): string {
  switch (node.kind) {
    case 'text':
      return node.text;
    case 'print':
      return show(evaluate(node.value, scope));
    case 'assign':
      scope.variables.set(node.variable, evaluate(node.value, scope));
      return '';
    case 'if':
      return isTrue(evaluate(node.condition, scope))
        ? renderNodes(node.body, scope)
        : renderNodes(node.otherwise, scope);
    case 'with': {
      const value = evaluate(node.condition, scope);
      return isTrue(value)
        ? renderNodes(node.body, { ...scope, dot: value })
        : renderNodes(node.otherwise, scope);
    }
    case 'range':
      return renderRange(node, scope);
  }
}

function renderRange(node: Extract<Node, { kind: 'range' }>, scope: Scope): string {
  const over = evaluate(node.over, scope);
  const entries = entriesOf(over);
  if (entries.length === 0) return renderNodes(node.otherwise, scope);
  return entries
    .map(([key, value]) => {
      if (node.key !== undefined) scope.variables.set(node.key, key);
      if (node.value !== undefined) scope.variables.set(node.value, value);
      return renderNodes(node.body, { ...scope, dot: value });
    })
    .join('');
}

function entriesOf(value: unknown): [string | number, unknown][] {
  if (Array.isArray(value)) return value.map((one: unknown, at) => [at, one]);
  if (typeof value === 'object' && value !== null)
    return Object.entries(value).sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  if (typeof value === 'number') return Array.from({ length: value }, (_, at) => [at, at]);
  if (value === undefined || value === null) return [];
  throw templateError(`template: cannot range over ${show(value)}`);
}

function evaluate(expression: Expression, scope: Scope): unknown {
  switch (expression.kind) {
    case 'literal':
      return expression.value;
    case 'path': {
      const { from } = expression;
      if (from === 'dot') return follow(scope.dot, expression.fields);
      if ('variable' in from) {
        if (!scope.variables.has(from.variable))
          throw templateError(`template: undefined variable "$${from.variable}"`);
        return follow(scope.variables.get(from.variable), expression.fields);
      }
      return follow(evaluate(from, scope), expression.fields);
    }
    case 'call':
      return call(expression, scope);
  }
}

function call({ name, args }: Extract<Expression, { kind: 'call' }>, scope: Scope): unknown {
  // and/or stop at the first argument that decides, as Go's do.
  if (name === 'and' || name === 'or') {
    let value: unknown;
    for (const argument of args) {
      value = evaluate(argument, scope);
      if (isTrue(value) === (name === 'or')) return value;
    }
    return value;
  }
  const known = Object.hasOwn(functions, name) ? functions[name] : undefined;
  if (!known)
    throw templateError(
      `template: function "${name}" not defined`,
      `there are: ${[...Object.keys(functions), 'and', 'or'].sort().join(', ')}`,
    );
  return known(...args.map((argument) => evaluate(argument, scope)));
}

function follow(value: unknown, fields: readonly string[]): unknown {
  for (const field of fields) {
    if (value === undefined || value === null) return undefined;
    if (typeof value !== 'object')
      throw templateError(`template: cannot evaluate field ${field} in ${show(value)}`);
    const holder = value as Record<string, unknown>;
    const key = Object.hasOwn(holder, field) ? field : sameLetters(holder, field);
    if (key === undefined)
      throw templateError(
        `template: there is no field .${field}`,
        `fields here: ${Object.keys(holder)
          .slice(0, 40)
          .map((one) => `.${one}`)
          .join(' ')}`,
      );
    value = holder[key];
  }
  return value;
}

/** `.Id` finds `ID`: inspect shows the API's spelling, where Docker's templates use Go's. */
function sameLetters(holder: Record<string, unknown>, field: string): string | undefined {
  const wanted = field.toLowerCase();
  return Object.keys(holder).find((key) => key.toLowerCase() === wanted);
}
