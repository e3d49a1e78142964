import { randomInt } from 'node:crypto';
import { isleError } from '../../lib/errors.ts';

const allowed = /^[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}$/;

/** Throws `invalidName` unless `name` can stand in a path, an address and a command line as it is. */
export function checkName(kind: string, name: string): void {
  if (!allowed.test(name)) throw isleError('invalidName', { kind, name: printable(name) });
}

/** Control characters of a client's value must not reach a terminal or a log through a message. */
function printable(text: string): string {
  return JSON.stringify(text.slice(0, 300)).slice(1, -1);
}

/** A name of two words that is not `taken` yet; with a number after a few vain tries. */
export function randomName(taken: (name: string) => boolean): string {
  for (let attempt = 0; ; attempt++) {
    const name = `${pick(adjectives)}_${pick(surnames)}`;
    const candidate = attempt < 8 ? name : `${name}${randomInt(10 ** Math.min(9, attempt - 6))}`;
    if (!taken(candidate)) return candidate;
  }
}

function pick(words: readonly string[]): string {
  return words[randomInt(words.length)]!;
}

const adjectives = words(`
  able airy alert amber ample ardent azure balmy bold brave breezy bright brisk calm candid careful cheery civil
  clear clever coastal cobalt cool copper coral cordial cosy crisp curious daring deft devoted eager early earnest
  easy elated fair faithful fearless festive fine fleet fond frank free fresh gentle giddy glad golden graceful
  grand green hardy hearty helpful honest hopeful humble indigo ivory jolly jovial keen kind lively loyal lucid
  lucky lunar mellow merry mighty mild mindful misty modest neat nimble noble open patient placid plucky polite
  proud prudent quick quiet radiant rapid ready robust rosy rustic sage serene sharp shiny silent silver sincere
  smooth snug solar solid sound spry stable steady stellar still stoic strong sturdy subtle sunny sure swift
  tender tidal tidy tranquil true trusty upbeat valiant vast verdant vivid warm watchful wise witty worthy zesty`);

const surnames = words(`
  abel agnesi airy alhazen ampere anning apgar avogadro babbage bassi becquerel bell bernoulli bessel blackwell bohr
  boole borlaug bose boyle brahe brahmagupta burnell cantor carson carver cauchy cavendish chandrasekhar chatelet
  clarke colden cori coulomb crick curie dalton darwin davy descartes dijkstra dirac drake easley edison einstein
  elion eratosthenes euclid euler faraday fermat fermi feynman fleming foucault franklin fresnel galileo galois
  gauss germain gibbs goldberg goodall hale halley hamilton harvey hawking heisenberg hero herschel hertz hodgkin
  hooke hopper hubble humboldt huygens hypatia jenner johnson joule kalam kepler khayyam khwarizmi kirch
  kovalevsky lagrange lamarr laplace lavoisier leavitt leibniz linnaeus lister lovelace maathai maxwell mayer
  mcclintock meitner mendel mendeleev mirzakhani mitchell montalcini moore morse napier newton nightingale nobel
  noether ohm oppenheimer pascal pasteur pauli payne perlman planck poincare ptolemy pythagoras raman ramanujan
  ride ritchie rubin rutherford sagan salk sanger schrodinger shannon sinoussi somerville tesla thales thompson
  torricelli turing varahamihira vaughan vesalius volta wallace watson wegener wing wozniak wright wu yalow yonath`);

function words(text: string): string[] {
  return text.trim().split(/\s+/);
}
