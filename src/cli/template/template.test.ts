import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import fc from 'fast-check';
import { compileTemplate } from './template.ts';

const data = {
  ID: 'abc',
  Names: '/web',
  Count: 3,
  Zero: 0,
  On: true,
  Config: { Env: ['A=1', 'B=2'], Labels: { 'com.example.x': 'y', b: 'c' }, Image: 'busybox' },
  Empty: [],
  Nothing: null,
  Ports: { '80/tcp': [{ HostIp: '0.0.0.0', HostPort: '8080' }], '90/tcp': null },
};
const render = (source: string) => compileTemplate(source)(data);

const cases: [template: string, text: string][] = [
  ['{{.ID}}', 'abc'],
  ['{{ .ID }}\\t{{.Names}}', 'abc\t/web'],
  ['{{.Config.Image}}', 'busybox'],
  ['{{.config.image}}', 'busybox'],
  ['{{json .Config.Env}}', '["A=1","B=2"]'],
  ['{{.Config | json}}', JSON.stringify(data.Config)],
  ['{{join .Config.Env ","}}', 'A=1,B=2'],
  ['{{.Config.Env}}', '[A=1 B=2]'],
  ['{{.Config.Labels}}', 'map[b:c com.example.x:y]'],
  ['{{index .Config.Labels "com.example.x"}}', 'y'],
  ['{{index .Config.Env 1}}', 'B=2'],
  ['{{range .Config.Env}}{{.}};{{end}}', 'A=1;B=2;'],
  ['{{range $i, $e := .Config.Env}}{{$i}}={{$e}} {{end}}', '0=A=1 1=B=2 '],
  ['{{range $k, $v := .Config.Labels}}{{$k}}:{{$v}},{{end}}', 'b:c,com.example.x:y,'],
  ['{{range .Empty}}x{{else}}none{{end}}', 'none'],
  ['{{if .On}}yes{{else}}no{{end}}', 'yes'],
  ['{{if .Zero}}a{{else if eq .Count 3}}b{{else}}c{{end}}', 'b'],
  ['{{if and .On (gt .Count 2)}}yes{{end}}', 'yes'],
  ['{{if or .Zero .Nothing}}yes{{else}}no{{end}}', 'no'],
  ['{{if not .Zero}}yes{{end}}', 'yes'],
  ['{{with .Config}}{{.Image}} {{$.ID}}{{end}}', 'busybox abc'],
  ['{{with .Nothing}}x{{else}}y{{end}}', 'y'],
  ['{{(index (index .Ports "80/tcp") 0).HostPort}}', '8080'],
  [
    '{{range $p, $c := .Ports}}{{$p}}->{{if $c}}{{(index $c 0).HostPort}}{{else}}-{{end}} {{end}}',
    '80/tcp->8080 90/tcp->- ',
  ],
  ['{{upper .ID}} {{lower "X"}} {{title "a b"}}', 'ABC x A B'],
  ['{{truncate .ID 2}}', 'ab'],
  ['{{pad .ID 1 2}}|', ' abc  |'],
  ['{{printf "%s-%d %q %5s|%-5s|" .ID .Count .ID .ID .ID}}', 'abc-3 "abc"   abc|abc  |'],
  ['{{println .ID}}', 'abc\n'],
  ['{{len .Config.Env}} {{len .ID}}', '2 3'],
  ['{{.Nothing}}', '<no value>'],
  ['{{split .Names "/"}}', '[ web]'],
  ['{{$x := .ID}}{{$x}}{{$x}}', 'abcabc'],
  ['a {{- .ID -}} b', 'aabcb'],
  ['{{/* a comment */}}x', 'x'],
  ['{{`raw }} text`}}', 'raw }} text'],
  ['{{slice .ID 1}}', 'bc'],
  ['{{ne .ID "x"}} {{le 2 3}}', 'true true'],
  ['no actions', 'no actions'],
];

describe('templates', () => {
  for (const [template, text] of cases) test(template, () => assert.equal(render(template), text));

  for (const bad of [
    '{{.ID',
    '{{if .ID}}',
    '{{end}}',
    '{{nope .ID}}',
    '{{.ID .ID}}',
    '{{range}}',
    '{{.Missing}}',
    '{{"x}}',
    '{{.ID | .Names}}',
    '{{template "x"}}',
    '{{$nope}}',
    '{{}}',
    '{{index .Empty 0}}',
    '{{.ID.Deep}}',
  ])
    test(`${bad} is refused in one line`, () => {
      assert.throws(
        () => render(bad),
        (error: Error) =>
          error.name === 'Failure' && /^template/.test(error.message) && !error.message.includes('\n'),
      );
    });

  test('a field that is not there is answered with those that are', () => {
    assert.throws(
      () => render('{{.Identity}}'),
      (error: Error & { hint?: string }) => {
        assert.match(error.message, /no field \.Identity/);
        assert.match(error.hint ?? '', /\.ID .*\.Names/);
        return true;
      },
    );
  });

  test('any text renders or is refused, and text without actions is itself', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.string().map((inner) => `{{${inner}}}`),
        ),
        (source) => {
          try {
            const text = render(source);
            if (!source.includes('{{'))
              assert.equal(text, source.replaceAll('\\t', '\t').replaceAll('\\n', '\n'));
          } catch (error) {
            assert.equal((error as Error).name, 'Failure', String((error as Error).stack));
          }
        },
      ),
    );
  });
});
