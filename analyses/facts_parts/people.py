"""Facts of common knowledge about people, works, things and animals, written for this project.

As in `places.py`: relation to wordings and facts.
"""

AUTHORS = """
Hamlet: William Shakespeare; Romeo and Juliet: William Shakespeare; Macbeth: William
Shakespeare; Othello: William Shakespeare; Pride and Prejudice: Jane Austen; Emma: Jane Austen;
Oliver Twist: Charles Dickens; Great Expectations: Charles Dickens; War and Peace: Leo Tolstoy;
Anna Karenina: Leo Tolstoy; Crime and Punishment: Fyodor Dostoevsky; Don Quixote: Miguel de
Cervantes; The Odyssey: Homer; The Iliad: Homer; The Divine Comedy: Dante Alighieri; Faust:
Goethe; Moby-Dick: Herman Melville; Frankenstein: Mary Shelley; Dracula: Bram Stoker; Ulysses:
James Joyce; The Great Gatsby: F. Scott Fitzgerald; To Kill a Mockingbird: Harper Lee; Animal
Farm: George Orwell; The Hobbit: J.R.R. Tolkien; The Lord of the Rings: J.R.R. Tolkien; Brave
New World: Aldous Huxley; The Old Man and the Sea: Ernest Hemingway; The Grapes of Wrath: John
Steinbeck; The Adventures of Tom Sawyer: Mark Twain; Treasure Island: Robert Louis Stevenson;
Alice's Adventures in Wonderland: Lewis Carroll; Robinson Crusoe: Daniel Defoe; Gulliver's
Travels: Jonathan Swift; Les Misérables: Victor Hugo; Madame Bovary: Gustave Flaubert; The
Metamorphosis: Franz Kafka; The Trial: Franz Kafka; The Stranger: Albert Camus; Jane Eyre:
Charlotte Brontë; Wuthering Heights: Emily Brontë; The Republic: Plato; The Prince: Niccolò
Machiavelli; The Raven: Edgar Allan Poe; Paradise Lost: John Milton; The Wealth of Nations: Adam
Smith; On the Origin of Species: Charles Darwin; The Communist Manifesto: Karl Marx; Leviathan:
Thomas Hobbes; The Waste Land: T.S. Eliot; The Scarlet Letter: Nathaniel Hawthorne; Walden:
Henry David Thoreau; The Time Machine: H.G. Wells; The War of the Worlds: H.G. Wells; Beloved:
Toni Morrison; The Canterbury Tales: Geoffrey Chaucer
"""

PAINTERS = """
the Mona Lisa: Leonardo da Vinci; The Last Supper: Leonardo da Vinci; Guernica: Pablo Picasso;
The Starry Night: Vincent van Gogh; The Scream: Edvard Munch; The Persistence of Memory:
Salvador Dalí; The Birth of Venus: Sandro Botticelli; The Night Watch: Rembrandt; Girl with a
Pearl Earring: Johannes Vermeer; The Kiss: Gustav Klimt; Water Lilies: Claude Monet; the ceiling
of the Sistine Chapel: Michelangelo; The School of Athens: Raphael; Sunflowers: Vincent van
Gogh; American Gothic: Grant Wood
"""

COMPOSERS = """
The Four Seasons: Antonio Vivaldi; The Magic Flute: Mozart; Swan Lake: Tchaikovsky; The
Nutcracker: Tchaikovsky; Messiah: Handel; the Moonlight Sonata: Beethoven; Für Elise: Beethoven;
the Brandenburg Concertos: Bach; La Traviata: Giuseppe Verdi; Aida: Giuseppe Verdi; The Marriage
of Figaro: Mozart; Don Giovanni: Mozart; The Rite of Spring: Igor Stravinsky; Carmen: Georges
Bizet; Madama Butterfly: Giacomo Puccini; The Planets: Gustav Holst; The Barber of Seville:
Gioachino Rossini; Boléro: Maurice Ravel
"""

INVENTORS = """
The telephone: Alexander Graham Bell; The light bulb: Thomas Edison; The phonograph: Thomas
Edison; The printing press: Johannes Gutenberg; The radio: Guglielmo Marconi; Dynamite: Alfred
Nobel; The airplane: the Wright brothers; The theory of relativity: Albert Einstein; Penicillin:
Alexander Fleming; The law of gravity: Isaac Newton; Radium: Marie Curie; The World Wide Web:
Tim Berners-Lee; The steam engine: James Watt; The polio vaccine: Jonas Salk; The cotton gin:
Eli Whitney; The telegraph: Samuel Morse; The theory of evolution: Charles Darwin; The periodic
table: Dmitri Mendeleev; X-rays: Wilhelm Röntgen; Oxygen: Joseph Priestley; The battery:
Alessandro Volta; The Model T: Henry Ford; The diesel engine: Rudolf Diesel; Pasteurization:
Louis Pasteur; The lightning rod: Benjamin Franklin; The electron: J.J. Thomson
"""

FOUNDERS = """
Microsoft: Bill Gates; Apple: Steve Jobs; Amazon: Jeff Bezos; Facebook: Mark Zuckerberg; Tesla:
Elon Musk; SpaceX: Elon Musk; Google: Larry Page; Twitter: Jack Dorsey; IKEA: Ingvar Kamprad;
Nike: Phil Knight; Walmart: Sam Walton; Oracle: Larry Ellison; Dell: Michael Dell; Ford: Henry
Ford; Disney: Walt Disney; Netflix: Reed Hastings; Wikipedia: Jimmy Wales; Honda: Soichiro
Honda; Virgin: Richard Branson; Alibaba: Jack Ma; Ferrari: Enzo Ferrari; Linux: Linus Torvalds
"""

MAKERS = """
the iPhone: Apple; the iPad: Apple; Windows: Microsoft; the Xbox: Microsoft; the PlayStation:
Sony; Android: Google; Gmail: Google; Photoshop: Adobe; the Kindle: Amazon; the Game Boy:
Nintendo; the Corolla: Toyota; the Mustang: Ford; the Civic: Honda; the Camaro: Chevrolet;
Instagram: Facebook; the Macintosh: Apple; Excel: Microsoft; the Galaxy S: Samsung; the Prius:
Toyota; YouTube: Google; the Walkman: Sony; the Model S: Tesla; the 747: Boeing; the A380:
Airbus; Java: Sun Microsystems
"""

SPORTS = """
Michael Jordan: basketball; LeBron James: basketball; Lionel Messi: soccer/football; Cristiano
Ronaldo: soccer/football; Roger Federer: tennis; Serena Williams: tennis; Tiger Woods: golf;
Muhammad Ali: boxing; Babe Ruth: baseball; Wayne Gretzky: hockey/ice hockey; Tom Brady:
football; Kobe Bryant: basketball; Rafael Nadal: tennis; Mike Tyson: boxing; Pelé:
soccer/football; Jack Nicklaus: golf; Michael Phelps: swimming; Jackie Robinson: baseball;
Sachin Tendulkar: cricket; Magic Johnson: basketball; Larry Bird: basketball; Derek Jeter:
baseball; Novak Djokovic: tennis; Peyton Manning: football; Joe Montana: football; David
Beckham: soccer/football; Andre Agassi: tennis; Shaquille O'Neal: basketball; Hank Aaron:
baseball; Arnold Palmer: golf; Joe Louis: boxing
"""

ORIGINS = """
Albert Einstein: German; Pablo Picasso: Spanish; Leonardo da Vinci: Italian; Isaac Newton:
English; Napoleon Bonaparte: French; Vincent van Gogh: Dutch; Wolfgang Amadeus Mozart: Austrian;
Claude Monet: French; Leo Tolstoy: Russian; Mahatma Gandhi: Indian; Galileo Galilei: Italian;
Socrates: Greek; Aristotle: Greek; Plato: Greek; Voltaire: French; Immanuel Kant: German; Karl
Marx: German; Sigmund Freud: Austrian; Niels Bohr: Danish; Charles Darwin: English/British;
Salvador Dalí: Spanish; Miguel de Cervantes: Spanish; Dante Alighieri: Italian; Michelangelo:
Italian; Fyodor Dostoevsky: Russian; Anton Chekhov: Russian; Confucius: Chinese; Frida Kahlo:
Mexican; Diego Rivera: Mexican; Antonio Vivaldi: Italian; Johann Sebastian Bach: German;
Archimedes: Greek; Ludwig van Beethoven: German; Victor Hugo: French; René Descartes: French;
Louis Pasteur: French; James Joyce: Irish; Oscar Wilde: Irish; Gabriel García Márquez:
Colombian; Pablo Neruda: Chilean; Akira Kurosawa: Japanese; Homer: Greek; Euclid: Greek;
Giuseppe Verdi: Italian; Rembrandt: Dutch; Friedrich Nietzsche: German; Jean-Paul Sartre:
French; Albert Camus: French; Alfred Nobel: Swedish
"""

SYMBOLS = """
gold: Au; silver: Ag; iron: Fe; copper: Cu; oxygen: O; hydrogen: H; carbon: C; nitrogen: N;
sodium: Na; potassium: K; calcium: Ca; magnesium: Mg; helium: He; lead: Pb; mercury: Hg; zinc:
Zn; tin: Sn; aluminum: Al; silicon: Si; phosphorus: P; sulfur: S; chlorine: Cl; lithium: Li;
uranium: U; nickel: Ni; cobalt: Co; neon: Ne; argon: Ar; fluorine: F; iodine: I; titanium: Ti;
chromium: Cr; manganese: Mn; platinum: Pt; barium: Ba; bromine: Br; boron: B; beryllium: Be;
krypton: Kr; radium: Ra
"""

NUMBERS = """
hydrogen: 1; helium: 2; lithium: 3; beryllium: 4; boron: 5; carbon: 6; nitrogen: 7; oxygen: 8;
fluorine: 9; neon: 10; sodium: 11; magnesium: 12; aluminum: 13; silicon: 14; phosphorus: 15;
sulfur: 16; chlorine: 17; argon: 18; potassium: 19; calcium: 20; iron: 26; copper: 29; zinc: 30;
silver: 47; gold: 79; mercury: 80; lead: 82; uranium: 92
"""

KINDS = """
shark: fish; salmon: fish; tuna: fish; eagle: bird; penguin: bird; owl: bird; parrot: bird;
dolphin: mammal; whale: mammal; bat: mammal; snake: reptile; lizard: reptile; crocodile:
reptile; turtle: reptile; frog: amphibian; salamander: amphibian; toad: amphibian; ant: insect;
bee: insect; butterfly: insect; beetle: insect; elephant: mammal; horse: mammal; ostrich: bird;
trout: fish; iguana: reptile; mosquito: insect; newt: amphibian; kangaroo: mammal; flamingo:
bird; cod: fish; grasshopper: insect
"""

YOUNG = """
dog: puppy; cat: kitten; cow: calf; horse: foal; sheep: lamb; goat: kid; pig: piglet; lion: cub;
bear: cub; duck: duckling; chicken: chick; deer: fawn; kangaroo: joey; frog: tadpole; swan:
cygnet; goose: gosling; elephant: calf; fox: kit; owl: owlet; whale: calf
"""

INSTRUMENTS = """
Jimi Hendrix: guitar; Louis Armstrong: trumpet; Miles Davis: trumpet; John Coltrane: saxophone;
Charlie Parker: saxophone; Yo-Yo Ma: cello; Eric Clapton: guitar; Ringo Starr: drums; B.B. King:
guitar; Itzhak Perlman: violin; Frédéric Chopin: piano; Franz Liszt: piano; Ravi Shankar: sitar;
Niccolò Paganini: violin; Art Tatum: piano; Benny Goodman: clarinet; Dizzy Gillespie: trumpet;
Glenn Gould: piano; Carlos Santana: guitar; Keith Moon: drums; Thelonious Monk: piano
"""

DIRECTORS = """
Jaws: Steven Spielberg; Jurassic Park: Steven Spielberg; Psycho: Alfred Hitchcock; Titanic:
James Cameron; Star Wars: George Lucas; Pulp Fiction: Quentin Tarantino; The Godfather: Francis
Ford Coppola; Avatar: James Cameron; Vertigo: Alfred Hitchcock; Schindler's List: Steven
Spielberg; Inception: Christopher Nolan; The Shining: Stanley Kubrick; Citizen Kane: Orson
Welles; Taxi Driver: Martin Scorsese; Goodfellas: Martin Scorsese; Seven Samurai: Akira Kurosawa
"""

RELATIONS = {
    "sport": (
        ("{} is famous for playing the sport of", "The sport that {} is known for is",
         "{} was a professional athlete in", "{} made a career in"),
        SPORTS,
    ),
    "instrument": (
        ("The instrument that {} played is the", "{} was famous for playing the",
         "{} was a master of the", "On stage, {} played the"),
        INSTRUMENTS,
    ),
    "young": (
        ("A baby {} is called a", "The young of a {} is called a", "A young {} is known as a",
         "The word for a baby {} is"),
        YOUNG,
    ),
    "symbol": (
        ("The chemical symbol for {} is", "The symbol of the element {} is",
         "In the periodic table, {} has the symbol", "Chemists write {} as"),
        SYMBOLS,
    ),
    "author": (
        ("Question: Who wrote {}? Answer:", "The author of {} is", "{} is a work by",
         "The writer who gave us {} is"),
        AUTHORS,
    ),
    "kind of animal": (
        ("Question: What kind of animal is a {}? Answer: A {} is a", "A {} is a kind of",
         "Biologists classify the {} as a type of", "Among animals, the {} is a"),
        KINDS,
    ),
    "inventor": (
        ("Question: Who invented or discovered this: {}? Answer:", "{} was discovered by",
         "The person behind {} was", "We owe the existence of {} to"),
        INVENTORS,
    ),
    "maker": (
        ("Question: Which company makes {}? Answer:", "{} is a product of the company",
         "The company that makes {} is", "{} was developed by"),
        MAKERS,
    ),
    "founder": (
        ("Question: Who founded {}? Answer:", "The founder of {} is",
         "The company {} was started by", "The man who founded {} is"),
        FOUNDERS,
    ),
    "nationality": (
        ("Question: What was the nationality of {}? Answer: {} was",
         "{} was born to parents who were",
         "By nationality, {} was", "{} was a famous"),
        ORIGINS,
    ),
    "painter": (
        ("Question: Who painted {}? Answer:", "The artist who painted {} is",
         "{} is a painting by", "The painter of {} was"),
        PAINTERS,
    ),
    "composer": (
        ("Question: Who composed {}? Answer:", "The composer of {} is",
         "{} is a piece of music by", "The music of {} is by"),
        COMPOSERS,
    ),
    "director": (
        ("Question: Who directed the film {}? Answer:", "The director of the film {} is",
         "{} is a film by", "The movie {} was made by the director"),
        DIRECTORS,
    ),
    "atomic number": (
        ("The atomic number of {} is", "In the periodic table, {} is element number",
         "The number of protons in an atom of {} is", "The element {} has the atomic number"),
        NUMBERS,
    ),
}  # fmt: skip
