/** Every container of a comparison carries the comparison's id and what it is for. */
export const runLabel = 'isle.compare';
export const roleLabel = 'isle.compare.role';
