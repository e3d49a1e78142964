/** Where what runs finds Isle's resolver (Docker's own address for it); served in each pod's network namespace. */
export const RESOLVER_ADDRESS = '127.0.0.11';
