import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findProduct, parseProducts } from './catalogue.ts';

const platform = { os: 'linux', architecture: 'amd64' };

function listOf(count: number, aliases: string): unknown {
  const product = { arch: 'amd64', os: 'testian', release: '1', aliases, versions: {} };
  return { products: Object.fromEntries(Array.from({ length: count }, (_, i) => [`p${i}`, product])) };
}

test('a server may have many products, but not any number, in however many lists', () => {
  assert.equal(parseProducts(listOf(5000, 'testian/1'), 'h').length, 5000);
  assert.throws(() => parseProducts(listOf(5001, ''), 'h'), /more than 5000 products/);
  assert.throws(() => parseProducts(listOf(10, ''), 'h', 4991), /more than 5000 products/);
});

test('of a product with any number of aliases the first are taken, and the nearest name is told', () => {
  const aliases = ['testian/one', ...Array.from({ length: 200 }, (_, i) => `a${i}`)].join(',');
  const products = parseProducts(listOf(1, aliases), 'h');
  assert.equal(products[0]?.aliases.length, 20);
  assert.throws(() => findProduct(products, 'testian/oen', platform, 'h'), /testian\/one/);
});
