import { join, relative } from 'node:path';
import ts from 'typescript';
import { checkoutOptions, root } from './compiler.js';

export const lib = join(root, 'lib');

/** What an editor shows when the mouse is over a name. */
export interface Hover {
  /** The file, then the names from an export to this name, such as `LockService.run`. */
  name: string;
  text: string;
  tags: string[];
}

/**
 * Returns the language service of an editor with these files open. The file `made` need not
 * exist, and has this `text`.
 */
export function languageService(files: string[], made: string, text: string): ts.LanguageService {
  const options = checkoutOptions();
  const read = (file: string): string | undefined => (file === made ? text : ts.sys.readFile(file));
  return ts.createLanguageService({
    getScriptFileNames: () => [...files, made],
    getScriptVersion: () => '0',
    getScriptSnapshot: (file) => {
      const source = read(file);
      return source === undefined ? undefined : ts.ScriptSnapshot.fromString(source);
    },
    getCurrentDirectory: () => root,
    getCompilationSettings: () => options,
    getDefaultLibFileName: ts.getDefaultLibFilePath,
    fileExists: (file) => file === made || ts.sys.fileExists(file),
    readFile: read,
    directoryExists: (folder) => ts.sys.directoryExists(folder),
    getDirectories: (folder) => ts.sys.getDirectories(folder),
  });
}

/**
 * Returns the texts that an editor shows for all names that users of these modules can write.
 */
export function hoversOf(service: ts.LanguageService, files: string[]): Hover[] {
  const program = service.getProgram();
  if (!program) throw new Error('The language service has no program.');
  const visitor = new Visitor(service, program.getTypeChecker());
  for (const file of files) {
    const source = program.getSourceFile(file);
    const module = source && program.getTypeChecker().getSymbolAtLocation(source);
    if (!module) throw new Error(`${file} is no module.`);
    visitor.visitExports(module);
  }
  return visitor.hovers;
}

/** Visits all names that users of these modules can write, beginning with the exports. */
class Visitor {
  readonly hovers: Hover[] = [];
  readonly #seen = new Set<ts.Node | ts.Type>();

  constructor(
    private readonly service: ts.LanguageService,
    private readonly checker: ts.TypeChecker,
  ) {}

  visitExports(module: ts.Symbol): void {
    for (const exported of this.checker.getExportsOfModule(module)) {
      const symbol =
        exported.flags & ts.SymbolFlags.Alias ? this.checker.getAliasedSymbol(exported) : exported;
      this.#visitSymbol(symbol, exported.name);
      if (symbol.flags & (ts.SymbolFlags.Class | ts.SymbolFlags.Interface | ts.SymbolFlags.TypeAlias))
        this.#visitMembers(this.checker.getDeclaredTypeOfSymbol(symbol), exported.name);
      const [declaration] = symbol.declarations ?? [];
      if (declaration && symbol.flags & ts.SymbolFlags.Value) {
        const value = this.checker.getTypeOfSymbolAtLocation(symbol, declaration);
        if (symbol.flags & ts.SymbolFlags.Class) this.#visitMembers(value, exported.name);
        this.#visitLiterals(value, exported.name);
      }
    }
  }

  /** Records what an editor shows at each declaration of the name. */
  #visitSymbol(symbol: ts.Symbol, name: string): void {
    for (const declaration of symbol.declarations ?? []) {
      const file = declaration.getSourceFile().fileName;
      if (!file.startsWith(lib) || this.#seen.has(declaration) || isHidden(declaration)) continue;
      this.#seen.add(declaration);
      const at = ts.getNameOfDeclaration(declaration) ?? declaration;
      const info = this.service.getQuickInfoAtPosition(file, at.getStart());
      const text = ts.isComputedPropertyName(at)
        ? symbol.getDocumentationComment(this.checker) // Editors show the expression itself.
        : info?.documentation;
      this.hovers.push({
        name: `${relative(root, file)} ${name}`,
        text: ts.displayPartsToString(text),
        tags: info?.tags?.map((tag) => tag.name) ?? [],
      });
    }
  }

  #visitMembers(type: ts.Type, path: string): void {
    if (this.#seen.has(type)) return;
    this.#seen.add(type);
    if (type.isUnionOrIntersection()) for (const part of type.types) this.#visitMembers(part, path);
    if (isOfLib(type) || type.isClassOrInterface())
      for (const member of this.checker.getPropertiesOfType(type)) {
        const [declaration] = member.declarations ?? [];
        if (!declaration || isHidden(declaration)) continue;
        const name = `${path}.${member.name}`;
        this.#visitSymbol(member, name);
        this.#visitLiterals(this.checker.getTypeOfSymbolAtLocation(member, declaration), name);
      }
    this.#visitLiterals(type, path);
  }

  /** Visits object types without a name, which are written inside another type. */
  #visitLiterals(type: ts.Type, path: string): void {
    const parts = [
      ...(type.isUnionOrIntersection() ? type.types : []),
      ...this.checker.getTypeArguments(type as ts.TypeReference),
      ...type
        .getCallSignatures()
        .flatMap((signature) => [
          ...signature.parameters.map((parameter) => this.checker.getTypeOfSymbol(parameter)),
          signature.getReturnType(),
        ]),
    ];
    if (isOfLib(type) && type.symbol.flags & ts.SymbolFlags.TypeLiteral) this.#visitMembers(type, path);
    for (const part of parts) {
      if (this.#seen.has(part)) continue;
      if (isOfLib(part) && part.symbol.flags & ts.SymbolFlags.TypeLiteral) this.#visitMembers(part, path);
      else if (!part.isClassOrInterface()) {
        this.#seen.add(part);
        this.#visitLiterals(part, path);
      }
    }
  }
}

function isOfLib({ symbol }: ts.Type): boolean {
  return symbol?.declarations?.some((node) => node.getSourceFile().fileName.startsWith(lib)) ?? false;
}

/**
 * Tells whether users never write the name: it is private or internal, or an option that
 * another option excludes, or a member that a client of the application has.
 */
function isHidden(node: ts.Declaration): boolean {
  if (ts.isPropertySignature(node) && node.type?.kind === ts.SyntaxKind.UndefinedKeyword) return true;
  const isMember = ts.isTypeElement(node) || ts.isClassElement(node);
  if (isMember && node.getSourceFile().fileName.startsWith(join(lib, 'stores/executors'))) return true;
  const name = ts.getNameOfDeclaration(node);
  const modifiers = ts.getCombinedModifierFlags(node);
  return (
    (name !== undefined && ts.isPrivateIdentifier(name)) ||
    (modifiers & (ts.ModifierFlags.Private | ts.ModifierFlags.Protected)) !== 0 ||
    ts.getJSDocTags(node).some(({ tagName }) => tagName.text === 'internal')
  );
}
