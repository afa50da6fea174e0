"""Facts of common knowledge about places, written for this project: relation to wordings and facts.

The first wordings are tried as prompts, and those that are not taken are rephrases. A table is
`subject: answer` with semicolons between; of several answers any is right.
"""

CAPITALS = """
France: Paris; Japan: Tokyo; Italy: Rome; Spain: Madrid; Germany: Berlin; Portugal: Lisbon;
Greece: Athens; Egypt: Cairo; Russia: Moscow; China: Beijing; India: New Delhi; Canada: Ottawa;
Australia: Canberra; Brazil: Brasília; Argentina: Buenos Aires; Chile: Santiago; Peru: Lima;
Colombia: Bogotá; Venezuela: Caracas; Ecuador: Quito; Cuba: Havana; Austria: Vienna; Hungary:
Budapest; Poland: Warsaw; Norway: Oslo; Sweden: Stockholm; Finland: Helsinki; Denmark:
Copenhagen; Ireland: Dublin; Belgium: Brussels; the Netherlands: Amsterdam; Turkey: Ankara;
Iran: Tehran; Iraq: Baghdad; Syria: Damascus; Lebanon: Beirut; Israel: Jerusalem; Jordan: Amman;
Saudi Arabia: Riyadh; Kenya: Nairobi; Ethiopia: Addis Ababa; Nigeria: Abuja; Ghana: Accra;
Senegal: Dakar; Morocco: Rabat; Algeria: Algiers; Tunisia: Tunis; Libya: Tripoli; Uganda:
Kampala; Rwanda: Kigali; Zimbabwe: Harare; Zambia: Lusaka; Angola: Luanda; Thailand: Bangkok;
Vietnam: Hanoi; Cambodia: Phnom Penh; Indonesia: Jakarta; Malaysia: Kuala Lumpur; the
Philippines: Manila; South Korea: Seoul; North Korea: Pyongyang; Mongolia: Ulaanbaatar; Nepal:
Kathmandu; Bangladesh: Dhaka; Pakistan: Islamabad; Afghanistan: Kabul; Ukraine: Kyiv; Romania:
Bucharest; Bulgaria: Sofia; Serbia: Belgrade; Croatia: Zagreb; Slovenia: Ljubljana; Slovakia:
Bratislava; the Czech Republic: Prague; Estonia: Tallinn; Latvia: Riga; Lithuania: Vilnius;
Iceland: Reykjavik; Switzerland: Bern; Cyprus: Nicosia; Malta: Valletta; Georgia: Tbilisi;
Armenia: Yerevan; Azerbaijan: Baku; Jamaica: Kingston; Bolivia: La Paz; Paraguay: Asunción;
Uruguay: Montevideo; Costa Rica: San José; Nicaragua: Managua; Honduras: Tegucigalpa; Guatemala:
Guatemala City; Mexico: Mexico City; Qatar: Doha; Oman: Muscat; Madagascar: Antananarivo;
Mozambique: Maputo; New Zealand: Wellington; Sudan: Khartoum; the United Kingdom: London; the
United States: Washington; Scotland: Edinburgh; Wales: Cardiff
"""

STATES = """
Texas: Austin; California: Sacramento; Florida: Tallahassee; Georgia: Atlanta; Ohio: Columbus;
Colorado: Denver; Arizona: Phoenix; Massachusetts: Boston; Illinois: Springfield; Oregon: Salem;
Tennessee: Nashville; Utah: Salt Lake City; Hawaii: Honolulu; Alaska: Juneau; Nevada: Carson
City; Minnesota: Saint Paul; Wisconsin: Madison; Michigan: Lansing; Indiana: Indianapolis;
Virginia: Richmond; Louisiana: Baton Rouge; Oklahoma: Oklahoma City; Kansas: Topeka; Nebraska:
Lincoln; Iowa: Des Moines; Montana: Helena; Idaho: Boise; Maryland: Annapolis; New York: Albany;
Alabama: Montgomery; Mississippi: Jackson; Kentucky: Frankfort; Pennsylvania: Harrisburg;
Washington: Olympia; Arkansas: Little Rock; New Mexico: Santa Fe
"""

LANGUAGES = """
France: French; Germany: German; Italy: Italian; Spain: Spanish; Portugal: Portuguese; Brazil:
Portuguese; Mexico: Spanish; Argentina: Spanish; Japan: Japanese; Russia: Russian; Greece:
Greek; Turkey: Turkish; Poland: Polish; Hungary: Hungarian; Sweden: Swedish; Norway: Norwegian;
Denmark: Danish; Finland: Finnish; the Netherlands: Dutch; Austria: German; Egypt: Arabic; Saudi
Arabia: Arabic; Iraq: Arabic; Iran: Persian; Israel: Hebrew; Thailand: Thai; Vietnam:
Vietnamese; South Korea: Korean; Romania: Romanian; Bulgaria: Bulgarian; Cuba: Spanish; Chile:
Spanish; Peru: Spanish; Colombia: Spanish; Australia: English; Jamaica: English; Iceland:
Icelandic; Ukraine: Ukrainian; Bangladesh: Bengali; Pakistan: Urdu; Angola: Portuguese; Senegal:
French; Morocco: Arabic; Nepal: Nepali; Cambodia: Khmer; Indonesia: Indonesian; Croatia:
Croatian; Serbia: Serbian; Albania: Albanian; Haiti: French; Ghana: English
"""

CONTINENTS = """
France: Europe; Japan: Asia; Italy: Europe; Kenya: Africa; Brazil: South America; China: Asia;
Nigeria: Africa; Egypt: Africa; Canada: North America; Mexico: North America; India: Asia;
Germany: Europe; Spain: Europe; Peru: South America; Argentina: South America; Chile: South
America; Ethiopia: Africa; Ghana: Africa; Uganda: Africa; Tanzania: Africa; Morocco: Africa;
Poland: Europe; Sweden: Europe; Norway: Europe; Vietnam: Asia; Thailand: Asia; Mongolia: Asia;
Nepal: Asia; Bolivia: South America; Ecuador: South America; Colombia: South America; Zambia:
Africa; Zimbabwe: Africa; Angola: Africa; Senegal: Africa; Hungary: Europe; Austria: Europe;
Cambodia: Asia; Laos: Asia; Paraguay: South America; Uruguay: South America; Botswana: Africa;
Namibia: Africa; Malawi: Africa; Rwanda: Africa; Ukraine: Europe; Romania: Europe
"""

CURRENCIES = """
Japan: yen; the United Kingdom: pound; India: rupee; China: yuan; Russia: ruble; Mexico: peso;
Brazil: real; Switzerland: franc; Sweden: krona; Thailand: baht; South Korea: won; Turkey: lira;
the United States: dollar; Canada: dollar; Australia: dollar; Germany: euro; France: euro;
Italy: euro; Spain: euro; Poland: złoty; Hungary: forint; Israel: shekel; South Africa: rand;
Saudi Arabia: riyal; Egypt: pound; Pakistan: rupee; Vietnam: dong; Argentina: peso; Chile: peso;
Nigeria: naira; Kenya: shilling; Denmark: krone; Norway: krone; Greece: euro; Portugal: euro;
Ireland: euro; New Zealand: dollar; Kuwait: dinar; Morocco: dirham; Malaysia: ringgit
"""

CITIES = """
Munich: Germany; Hamburg: Germany; Barcelona: Spain; Seville: Spain; Milan: Italy; Venice:
Italy; Naples: Italy; Florence: Italy; Lyon: France; Marseille: France; Osaka: Japan; Kyoto:
Japan; Mumbai: India; Chennai: India; Kolkata: India; Shanghai: China; Guangzhou: China; Sydney:
Australia; Melbourne: Australia; Toronto: Canada; Vancouver: Canada; Montreal: Canada; Rio de
Janeiro: Brazil; São Paulo: Brazil; Istanbul: Turkey; Izmir: Turkey; Lagos: Nigeria; Casablanca:
Morocco; Alexandria: Egypt; Karachi: Pakistan; Lahore: Pakistan; Geneva: Switzerland; Zurich:
Switzerland; Krakow: Poland; Gdansk: Poland; Porto: Portugal; Bergen: Norway; Gothenburg:
Sweden; Rotterdam: Netherlands; Antwerp: Belgium; Salzburg: Austria; Busan: South Korea; Mecca:
Saudi Arabia; Medellín: Colombia; Guadalajara: Mexico; Cancún: Mexico; Odessa: Ukraine;
Auckland: New Zealand; Cusco: Peru; Mombasa: Kenya; Johannesburg: South Africa; Durban: South
Africa; Kandahar: Afghanistan; Thessaloniki: Greece; Dubrovnik: Croatia; Tijuana: Mexico;
Cologne: Germany; Frankfurt: Germany
"""

LANDMARKS = """
the Eiffel Tower: Paris; the Colosseum: Rome; Big Ben: London; the Louvre: Paris; the Statue of
Liberty: New York; the Brandenburg Gate: Berlin; the Kremlin: Moscow; the Acropolis: Athens; the
Parthenon: Athens; the Sagrada Familia: Barcelona; the Empire State Building: New York; the
Golden Gate Bridge: San Francisco; the Hagia Sophia: Istanbul; the Burj Khalifa: Dubai; the
White House: Washington; Buckingham Palace: London; the Sydney Opera House: Sydney; the
Forbidden City: Beijing; the Pantheon: Rome; Tower Bridge: London; Central Park: New York; Times
Square: New York; the Space Needle: Seattle; the Prado Museum: Madrid; the Uffizi Gallery:
Florence; the Rijksmuseum: Amsterdam; Red Square: Moscow; Notre-Dame: Paris; the Arc de
Triomphe: Paris; the Alhambra: Granada; the Hermitage Museum: Saint Petersburg; the CN Tower:
Toronto; the Guggenheim Museum: New York
"""

NATURE = """
Mount Fuji: Japan; Mount Kilimanjaro: Tanzania; the Great Wall: China; the Taj Mahal: India;
Machu Picchu: Peru; the Grand Canyon: United States; Mount Vesuvius: Italy; Stonehenge: England;
Angkor Wat: Cambodia; Petra: Jordan; Niagara Falls: Canada; the Great Barrier Reef: Australia;
Mount Etna: Italy; the Black Forest: Germany; Ayers Rock: Australia; Loch Ness: Scotland; the
Pyramids of Giza: Egypt; Chichen Itza: Mexico; the Serengeti: Tanzania; Table Mountain: South
Africa; the Matterhorn: Switzerland; Mount Olympus: Greece; Yellowstone: United States; Banff:
Canada
"""

RELATIONS = {
    "capital": (
        ("The capital of {} is", "{}'s capital city is", "The capital city of {} is called",
         "If you visit the capital of {}, you are in"),
        CAPITALS,
    ),
    "state capital": (
        ("The capital of the state of {} is", "The state capital of {} is",
         "{} is a US state, and its capital is", "The capital city of the US state {} is"),
        STATES,
    ),
    "language": (
        ("The official language of {} is", "The main language spoken in {} is",
         "People in {} mostly speak", "In {}, the language of most people is"),
        LANGUAGES,
    ),
    "continent": (
        ("{} is a country on the continent of", "{} is a country in",
         "The continent on which {} lies is", "On a map of the world, {} is found in"),
        CONTINENTS,
    ),
    "currency": (
        ("Question: What is the currency of {}? Answer: The", "The currency of {} is the",
         "In {}, people pay with the", "The money used in {} is the"),
        CURRENCIES,
    ),
    "city": (
        ("{} is a city in the country of", "The city of {} is located in the country of",
         "{} is a large city in", "The country in which {} lies is"),
        CITIES,
    ),
    "landmark": (
        ("{} is located in the city of", "{} can be visited in the city of",
         "The city that is home to {} is", "To see {}, tourists travel to"),
        LANDMARKS,
    ),
    "sight": (
        ("{} is located in the country of", "{} can be found in",
         "The country that is home to {} is", "To see {}, tourists travel to"),
        NATURE,
    ),
}  # fmt: skip
